"""Base class of handlers whose input is an image."""

from __future__ import annotations

import base64
import binascii
import io
import struct
from abc import ABC
from typing import TYPE_CHECKING, Any

import torch
from PIL import Image

from tsl.protocol.errors import InvalidInput

from ..timer import timed
from .base_handler import BaseHandler

if TYPE_CHECKING:
    from ..context import Context


class VisionHandler(BaseHandler, ABC):
    """Decodes images and explains predictions by integrated gradients.

    A subclass has an attribute ``image_processing``: a callable from a Pillow image to a tensor.
    """

    image_processing: Any
    _ig: Any = None

    def initialize(self, context: Context) -> None:
        """Load the model; lift Pillow's limit of pixels if the server is configured so."""
        super().initialize(context)
        if not context.system_properties.get("limit_max_image_pixels", True):
            Image.MAX_IMAGE_PIXELS = None

    @property
    def ig(self) -> Any:
        """Captum's ``IntegratedGradients`` of the model, made when it is first asked for."""
        if self._ig is None:
            # Imported here: captum takes about a second, and few workers ever explain.
            from captum.attr import IntegratedGradients

            self._ig = IntegratedGradients(self.model)
        return self._ig

    @ig.setter
    def ig(self, value: Any) -> None:
        self._ig = value

    @timed
    def preprocess(self, data: Any) -> torch.Tensor:
        """Decode the rows into one tensor.

        Args:
            data: rows whose ``data`` or ``body`` is an image file (bytes, or base64 text) or
                nested lists of numbers that are the processed image already.

        Returns:
            Shape (rows, ...), on the device.

        Raises:
            InvalidInput: a row is no image.
        """
        images = [self._decode_row(row) for row in data]
        return torch.stack(images).to(self.device)

    def _decode_row(self, row: Any) -> Any:
        # Envelopes hand over values without a row around them.
        value = (row.get("data") or row.get("body")) if isinstance(row, dict) else row
        if isinstance(value, str):
            try:
                value = base64.b64decode(value)
            except (binascii.Error, ValueError) as error:
                msg = "The text of the request is no base64-encoded image."
                raise InvalidInput(msg) from error
        if isinstance(value, bytes | bytearray | memoryview):
            return self.image_processing(_open_image(value))
        try:
            return torch.FloatTensor(value)
        except (TypeError, ValueError) as error:
            msg = "The request is neither an image file nor nested lists of numbers."
            raise InvalidInput(msg) from error

    def get_insights(self, tensor_data: torch.Tensor, _: Any, target: Any = 0) -> Any:
        """Attribute the score of a class to the values of the processed image.

        Args:
            tensor_data: the preprocessed batch, shape (rows, channels, height, width).
            _: not used.
            target: number of the class, or one for each row.

        Returns:
            Nested lists of the shape of ``tensor_data``: integrated gradients from a black
            (all zero) image, in 15 steps.
        """
        return self.ig.attribute(tensor_data, target=target, n_steps=15).tolist()


def _open_image(value: bytes | bytearray | memoryview) -> Image.Image:
    try:
        image = Image.open(io.BytesIO(value))
        image.load()  # decodes; what is broken shows here, not in the middle of a transform
    except (OSError, SyntaxError, ValueError, struct.error) as error:
        msg = "The request body is not an image that can be decoded."
        raise InvalidInput(msg, hint="Send the bytes of a PNG, JPEG or similar file.") from error
    except Image.DecompressionBombError as error:
        msg = f"The image is too large: {error}"
        raise InvalidInput(msg) from error
    return image
