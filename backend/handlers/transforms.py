"""Image transforms of the default handlers, on Pillow and torch alone.

They compute what torchvision's transforms of the same names compute for Pillow images, bit for
bit; torchvision is not needed at run time. Each is an object, so that it can be a class
attribute of a handler without becoming a method.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from PIL import Image


class Compose:
    """Applies transforms in order."""

    def __init__(self, transforms: Sequence[Callable[[Any], Any]]) -> None:
        self.transforms = list(transforms)

    def __call__(self, image: Any) -> Any:
        """The result of the last transform."""
        for transform in self.transforms:
            image = transform(image)
        return image


class ToRGB:
    """Converts grey, palette and transparent images; RGB ones are left alone."""

    def __call__(self, image: Image.Image) -> Image.Image:
        """The image in mode RGB."""
        return image if image.mode == "RGB" else image.convert("RGB")


class Resize:
    """Scales the short side to a length and keeps the proportions; bilinear, antialiased.

    Args:
        size: length of the short side, in pixels.
    """

    def __init__(self, size: int) -> None:
        self.size = size

    def __call__(self, image: Image.Image) -> Image.Image:
        """The scaled image; its long side is rounded down."""
        width, height = image.size
        short, long = min(width, height), max(width, height)
        scaled_long = int(self.size * long / short)
        size = (self.size, scaled_long) if width <= height else (scaled_long, self.size)
        return image if size == image.size else image.resize(size, Image.Resampling.BILINEAR)


class CenterCrop:
    """Cuts a square out of the middle of an image that is at least as large.

    Args:
        size: length of its sides, in pixels.
    """

    def __init__(self, size: int) -> None:
        self.size = size

    def __call__(self, image: Image.Image) -> Image.Image:
        """The square."""
        width, height = image.size
        # round() goes to the even number at one half, as the offsets of torchvision do.
        left, top = round((width - self.size) / 2), round((height - self.size) / 2)
        return image.crop((left, top, left + self.size, top + self.size))


class ToTensor:
    """Turns an 8-bit image into a float32 tensor of shape (channels, height, width), 0 to 1."""

    def __call__(self, image: Image.Image) -> torch.Tensor:
        """The tensor."""
        width, height = image.size
        # bytearray: torch wants memory that it may write to.
        values = torch.frombuffer(bytearray(image.tobytes()), dtype=torch.uint8)
        channels = values.view(height, width, len(image.getbands())).permute(2, 0, 1)
        return channels.contiguous().to(torch.float32).div(255)


class Normalize:
    """Subtracts the mean of each channel and divides by its standard deviation.

    Args:
        mean: one value for each channel.
        std: one value for each channel.
    """

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        self.mean = torch.tensor(mean, dtype=torch.float32).view(-1, 1, 1)
        self.std = torch.tensor(std, dtype=torch.float32).view(-1, 1, 1)

    def __call__(self, tensor: torch.Tensor) -> torch.Tensor:
        """The normalized tensor; the input is left alone."""
        return tensor.sub(self.mean).div_(self.std)


def imagenet_transforms() -> Compose:
    """What networks trained on ImageNet expect: shape (3, 224, 224), normalized."""
    return Compose(
        [
            ToRGB(),
            Resize(256),
            CenterCrop(224),
            ToTensor(),
            Normalize(mean=(0.485, 0.456, 0.406), std=(0.229, 0.224, 0.225)),
        ]
    )
