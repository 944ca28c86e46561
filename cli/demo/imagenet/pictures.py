"""From a picture to what the model sees, and back.

Knows nothing of the model, the classes or the answers.
"""

from __future__ import annotations

import contextlib
import struct
from typing import Final

import torch
from PIL import Image, ImageOps
from torch import Tensor

SIZE: Final = 224
"""Height and width, in pixels, of what the model sees."""

_RESIZED: Final = 256  # the shorter side, before the middle is cut out
_MEAN: Final = 127.0
_SPREAD: Final = 128.0


def prepare(image: Image.Image) -> Tensor:
    """Turn upright, cut and normalise a picture.

    Returns:
        Shape (3, 224, 224).
    """
    # What a camera says about its orientation may be broken; the picture is not.
    with contextlib.suppress(SyntaxError, ValueError, TypeError, OSError, struct.error):
        image = ImageOps.exif_transpose(image)
    return _normalise(_cut(image.convert("RGB")))


def to_image(pixels: Tensor) -> Image.Image:
    """The picture as the model saw it, from normalised pixels [3, 224, 224]."""
    values = (pixels * _SPREAD + _MEAN).round().clamp(0, 255).to(torch.uint8)
    interleaved = values.permute(1, 2, 0).contiguous()
    return Image.frombytes("RGB", (SIZE, SIZE), bytes(interleaved.flatten().tolist()))


def _cut(image: Image.Image) -> Image.Image:
    """Make the shorter side 256 pixels long, then keep the 224 x 224 in the middle."""
    scale = _RESIZED / min(image.size)
    width, height = (round(side * scale) for side in image.size)
    left, top = (width - SIZE) // 2, (height - SIZE) // 2
    # Resizing only the part that is kept bounds the work on very long, thin pictures.
    box = (left / scale, top / scale, (left + SIZE) / scale, (top + SIZE) / scale)
    return image.resize((SIZE, SIZE), Image.Resampling.BICUBIC, box=box)


def _normalise(image: Image.Image) -> Tensor:
    pixels = torch.frombuffer(bytearray(image.tobytes()), dtype=torch.uint8)
    return (pixels.view(SIZE, SIZE, 3).permute(2, 0, 1).float() - _MEAN) / _SPREAD
