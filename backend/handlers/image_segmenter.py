"""The built-in handler ``image_segmenter``."""

from __future__ import annotations

from typing import Any

import torch

from .transforms import imagenet_transforms
from .vision_handler import VisionHandler


class ImageSegmenter(VisionHandler):
    """Answers the class of every pixel.

    The model returns a dict whose ``out`` holds scores of shape (rows, classes, height, width).
    """

    image_processing: Any = imagenet_transforms()

    def postprocess(self, data: dict[str, torch.Tensor]) -> Any:
        """Turn scores into classes with their probabilities.

        Args:
            data: the model's output.

        Returns:
            Nested lists of shape (rows, height, width, 2): class number (as float), probability.
        """
        probabilities, classes = torch.softmax(data["out"], dim=1).max(dim=1)
        return torch.stack((classes.to(probabilities.dtype), probabilities), dim=3).tolist()
