"""From what a client sent to tensors: find the pictures in a row, decode, resize, normalise.

Knows nothing of the model, the classes or the answers.
"""

from __future__ import annotations

import base64
import binascii
import io
import struct
from collections.abc import Mapping
from typing import Any, Final

import torch
from PIL import Image, ImageOps
from torch import Tensor

SIZE: Final = 224
"""Height and width, in pixels, of what the model sees."""

MAX_PICTURES: Final = 32
"""Most pictures in one request; they all enter the same forward pass."""

_RESIZED: Final = 256  # the shorter side, before the middle is cut out
_MEAN: Final = 127.0
_SPREAD: Final = 128.0

# What Pillow raises for data that is no picture, is cut short, or is too large to be honest.
_DECODING_ERRORS: Final = (
    OSError,
    ValueError,
    SyntaxError,
    EOFError,
    struct.error,
    Image.DecompressionBombError,
)


class UnreadablePicture(Exception):
    """The client's mistake; the text tells them what is wrong."""


def find_pictures(row: Mapping[str, Any]) -> list[Any]:
    """The encoded pictures of one request, in the order they were sent.

    A form may repeat the field ``data``; any other request carries one picture, as its body
    or as the member ``data`` (base64 text) of a JSON body.

    Args:
        row: parameter names to values, as a handler receives it.

    Raises:
        UnreadablePicture: there is none, or there are too many.
    """
    body = row.get("body")
    if isinstance(body, Mapping):
        row, body = body, None
    # Plain dicts, as other servers of this handler interface pass them, keep one value a name.
    getlist = getattr(row, "getlist", None)
    pictures = getlist("data") if getlist else [row["data"]] if "data" in row else []
    pictures = [p for p in (pictures or [body]) if p]
    if not pictures:
        msg = "There is no picture; send one as the body (curl -T cat.png) or as form field 'data'."
        raise UnreadablePicture(msg)
    if len(pictures) > MAX_PICTURES:
        msg = f"{len(pictures)} pictures are too many; send at most {MAX_PICTURES} a request."
        raise UnreadablePicture(msg)
    return pictures


def read_pictures(pictures: list[Any]) -> Tensor:
    """Decode and prepare pictures for the model.

    Args:
        pictures: encoded pictures: bytes, or base64 as text.

    Returns:
        Normalised pixels, [N, 3, 224, 224].

    Raises:
        UnreadablePicture: one of them cannot be decoded; the text says which.
    """
    tensors = []
    for number, encoded in enumerate(pictures, start=1):
        try:
            tensors.append(_normalise(_cut(_decode(encoded))))
        except _DECODING_ERRORS as error:
            which = f"Picture {number} of {len(pictures)}" if len(pictures) > 1 else "The picture"
            msg = f"{which} cannot be decoded; PNG, JPEG, WebP, GIF, BMP and TIFF can."
            raise UnreadablePicture(msg) from error
    return torch.stack(tensors)


def to_image(pixels: Tensor) -> Image.Image:
    """The picture as the model saw it, from normalised pixels [3, 224, 224]."""
    values = (pixels * _SPREAD + _MEAN).round().clamp(0, 255).to(torch.uint8)
    interleaved = values.permute(1, 2, 0).contiguous()
    return Image.frombytes("RGB", (SIZE, SIZE), bytes(interleaved.flatten().tolist()))


def _decode(encoded: Any) -> Image.Image:
    if isinstance(encoded, str):
        try:
            encoded = base64.b64decode(encoded, validate=True)
        except binascii.Error as error:
            msg = "text that is not base64"
            raise ValueError(msg) from error
    if not isinstance(encoded, bytes | bytearray | memoryview):
        msg = f"no picture can be in a {type(encoded).__name__}"
        raise ValueError(msg)  # noqa: TRY004  # the caller's data, not the caller's code, is wrong
    image = Image.open(io.BytesIO(encoded))
    return ImageOps.exif_transpose(image).convert("RGB")


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
