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
        if image.mode == "RGB":
            return image
        if image.mode.startswith("I;16"):  # Pillow would cut 16 bits off at 255
            image = image.convert("I").point(lambda level: level / 256).convert("L")
        return image.convert("RGB")


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
    """Cuts a square out of the middle of an image; a smaller one gets a black border.

    Args:
        size: length of its sides, in pixels.
    """

    def __init__(self, size: int) -> None:
        self.size = size

    def __call__(self, image: Image.Image) -> Image.Image:
        """The square."""
        width, height = image.size
        left, top = _offset(width, self.size), _offset(height, self.size)
        return image.crop((left, top, left + self.size, top + self.size))


def _offset(length: int, cropped: int) -> int:
    """Where a crop begins: at one half, torchvision rounds to even, and borders outwards."""
    if length < cropped:
        return -((cropped - length) // 2)
    return round((length - cropped) / 2)


class ToTensor:
    """Turns an 8-bit image into a float32 tensor of shape (channels, height, width), 0 to 1."""

    def __call__(self, image: Image.Image) -> torch.Tensor:
        """The tensor; black and white is taken for grey.

        Raises:
            ValueError: the image has more than 8 bits a channel.
        """
        if image.mode == "1":
            image = image.convert("L")
        if image.mode[0] in "IF":
            msg = f"images of mode {image.mode} have more than 8 bits; convert them first"
            raise ValueError(msg)
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
