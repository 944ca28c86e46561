"""Base class of handlers whose input is an image."""

from __future__ import annotations

import base64
import binascii
import io
import logging
import struct
from abc import ABC
from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from PIL import Image

from tsl.protocol.errors import HandlerFailed, InvalidInput, InvalidRequest, TslError

from ..regroup import Regroup, refuse_rows, split_rows
from ..timer import timed
from .base_handler import BaseHandler
from .image_explanations import (
    convergence,
    explain_images,
    explained_forward,
    integrated_gradients,
    present,
    sum_channels,
    to_picture,
    wanted_views,
)
from .image_rows import ImageRows, has_several

if TYPE_CHECKING:
    from ..context import Context

logger = logging.getLogger(__name__)


class VisionHandler(BaseHandler, ABC):
    """Decodes images and explains predictions by integrated gradients.

    A subclass has an attribute ``image_processing``: a callable from a Pillow image to a tensor.
    A request may carry several images, by repeating the form field ``data``; it is answered with
    a list. Images that cannot be decoded fail their own request, not the batch.

    Attributes:
        max_images: images in one request at most; they share one call of the model.
        default_target: class to explain when the client names none; None for the most probable
            one, which pictures and pages always take.
    """

    image_processing: Any
    max_images = 32
    default_target: int | None = 0
    _ig: Any = None

    def initialize(self, context: Context) -> None:
        """Load the model; lift Pillow's limit of pixels if the server is configured so."""
        super().initialize(context)
        if not context.system_properties.get("limit_max_image_pixels", True):
            Image.MAX_IMAGE_PIXELS = None

    def _example_input(self) -> torch.Tensor | None:
        configured = super()._example_input()
        if configured is not None:
            return configured
        # A grey square: nothing of it matters but the shape that comes out.
        image = self.image_processing(Image.new("RGB", (256, 256), (128, 128, 128)))
        return torch.stack([image]).to(self.device)

    def handle(self, data: Any, context: Context) -> Any:
        """Answer a batch.

        Args:
            data: one row for each request, with one or more images.
            context: the context of the batch.

        Returns:
            One item for each row: the result of its image, or a list if it has several.
        """
        self.context = context
        views = wanted_views(context, data) if self._is_explain() else None
        if views is None and not has_several(data):
            return super().handle(data, context)
        images = ImageRows(data, self.max_images, views)
        try:
            answers = images.gather(self.__answer(images.rows, context))
        except Regroup as plan:
            images.refuse(plan)
        if views is not None:
            pairs = zip(answers, views, strict=True)
            return [present(context, row, *pair) for row, pair in enumerate(pairs)]
        return [answer[0] if len(answer) == 1 else answer for answer in answers]

    def __answer(self, rows: list[Any], context: Context) -> Any:
        """Answer images; those that do not fit into one tensor by several calls."""
        try:
            return super().handle(rows, context)
        except Regroup as plan:
            if plan.refused:
                raise
            answers: dict[int, Any] = {}
            for group in plan.groups:
                parts = self.__answer([rows[number] for number in group], context)
                answers.update(zip(group, parts, strict=True))
            return [answers[number] for number in range(len(rows))]

    @timed
    def preprocess(self, data: Any) -> torch.Tensor:
        """Decode the rows into one tensor.

        Args:
            data: rows whose ``data`` or ``body`` is an image file (bytes, or base64 text) or
                nested lists of numbers that are the processed image already. A JSON body may
                have these as its member ``data``.

        Returns:
            Shape (rows, ...), on the device.

        Raises:
            InvalidInput: the only row is no image.
            Regroup: some rows are none, or not all have the same shape.
        """
        images: list[torch.Tensor] = []
        refused: dict[int, TslError] = {}
        for number, row in enumerate(data):
            try:
                images.append(self._decode_row(row))
            except InvalidRequest as error:
                refused[number] = error
            except Exception:  # a transform that this image does not suit
                if len(data) == 1:
                    raise
                logger.exception("The image of row %d cannot be processed:", number)
                refused[number] = HandlerFailed()
        refuse_rows(refused, len(data))
        split_rows([tuple(image.shape) for image in images])
        return torch.stack(images).to(self.device)

    def _decode_row(self, row: Any) -> Any:
        value = _value_of(row)
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

    # -- explanations ----------------------------------------------------------------------

    @property
    def ig(self) -> Any:
        """Captum's ``IntegratedGradients`` of the model, made when it is first asked for."""
        if self._ig is None:
            # Imported here: captum takes about a second, and few workers ever explain.
            from captum.attr import IntegratedGradients

            self._ig = IntegratedGradients(partial(explained_forward, self))
        return self._ig

    @ig.setter
    def ig(self, value: Any) -> None:
        self._ig = value

    def explained_scores(self, outputs: Any) -> torch.Tensor:
        """One score for each class, shape (rows, classes), from what the model returns."""
        scores: torch.Tensor = outputs
        return scores

    def get_insights(self, tensor_data: torch.Tensor, _: Any, target: Any = 0) -> Any:
        """Attribute the score of a class to the values of the processed image.

        Args:
            tensor_data: the preprocessed batch, shape (rows, channels, height, width).
            _: not used.
            target: number of the class, or one for each row.

        Returns:
            Nested lists of the shape of ``tensor_data``: integrated gradients from a black
            (all zero) image, in 15 steps.

        Raises:
            InvalidInput: the only row asks for a class that the model does not have.
            Regroup: some row does.
            Unsupported: the model has no gradients.
        """
        return integrated_gradients(self, tensor_data, target).tolist()

    def explain_handle(self, data_preprocess: Any, raw_data: Any) -> Any:
        """Explain a batch; a row may name the class by number or label in its field ``target``.

        Returns:
            What `get_insights` says about each row; an `ExplainedImage` for a row that the
            client wants to see.
        """
        return explain_images(self, data_preprocess, raw_data)

    def relevance_of(self, insight: Any) -> torch.Tensor:
        """What is drawn, shape (rows, columns), from what `get_insights` says about an image.

        Raises:
            InvalidInput: it cannot be drawn.
        """
        return sum_channels(insight)

    def picture_of(self, image: torch.Tensor) -> Image.Image:
        """The picture as the model saw it, from the processed image (channels, height, width)."""
        return to_picture(image, getattr(self.image_processing, "transforms", ()))

    def figures_of(self, image: torch.Tensor, insight: Any, target: Any) -> Mapping[str, Any]:
        """What a page says in numbers about an explanation.

        Args:
            image: the processed image.
            insight: what `get_insights` says about it.
            target: the class.
        """
        return convergence(self, image, insight, target)


def _value_of(row: Any) -> Any:
    # Envelopes hand over values without a row around them.
    value = (row.get("data") or row.get("body")) if isinstance(row, dict) else row
    return value.get("data") if isinstance(value, dict) else value


def _open_image(value: bytes | bytearray | memoryview) -> Image.Image:
    if not value:
        msg = "The request has no image."
        raise InvalidInput(msg, hint="Send one as the body, or as the form field 'data'.")
    try:
        image = Image.open(io.BytesIO(value))
        image.load()  # decodes; what is broken shows here, not in the middle of a transform
    except (OSError, SyntaxError, ValueError, EOFError, struct.error) as error:
        msg = "The request body is not an image that can be decoded."
        raise InvalidInput(msg, hint="Send the bytes of a PNG, JPEG or similar file.") from error
    except Image.DecompressionBombError as error:
        msg = f"The image is too large: {error}"
        raise InvalidInput(msg) from error
    return image
