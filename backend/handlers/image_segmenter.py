"""The built-in handler ``image_segmenter``."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch

from .transforms import imagenet_transforms
from .vision_handler import VisionHandler


class ImageSegmenter(VisionHandler):
    """Answers the class of every pixel.

    The model returns a dict whose ``out`` holds scores of shape (rows, classes, height, width).
    """

    image_processing: Any = imagenet_transforms()
    default_target = None

    def explained_scores(self, outputs: Any) -> torch.Tensor:
        """The mean of each class's scores over all pixels, shape (rows, classes)."""
        return _scores_of(outputs).mean(dim=(2, 3))

    def postprocess(self, data: Mapping[str, torch.Tensor] | torch.Tensor) -> Any:
        """Turn scores into classes with their probabilities.

        Args:
            data: the model's output; a bare tensor is taken for its ``out``.

        Returns:
            Nested lists of shape (rows, height, width, 2): class number (as float), probability.
        """
        probabilities, classes = torch.softmax(_scores_of(data), dim=1).max(dim=1)
        return torch.stack((classes.to(probabilities.dtype), probabilities), dim=3).tolist()


def _scores_of(outputs: Any) -> torch.Tensor:
    scores: torch.Tensor = outputs["out"] if isinstance(outputs, Mapping) else outputs
    return scores
