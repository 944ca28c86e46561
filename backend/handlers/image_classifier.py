"""The built-in handler ``image_classifier``."""

from __future__ import annotations

from typing import Any

import torch

from ..timer import timed
from ..util import map_class_to_label
from .transforms import imagenet_transforms
from .vision_handler import VisionHandler


class ImageClassifier(VisionHandler):
    """Answers the most probable classes of an image.

    Attributes:
        topk: how many classes.
        image_processing: from a Pillow image to a tensor of shape (3, 224, 224).
    """

    topk = 5
    image_processing: Any = imagenet_transforms()

    def set_max_result_classes(self, topk: int) -> None:
        """Change how many classes are answered."""
        self.topk = topk

    def get_max_result_classes(self) -> int:
        """How many classes are answered."""
        return self.topk

    @timed
    def postprocess(self, data: torch.Tensor) -> list[dict[str, float]]:
        """Turn scores into probabilities of labels.

        Args:
            data: scores, shape (rows, classes).

        Returns:
            For each row label to probability, the highest first.
        """
        probabilities = torch.softmax(data, dim=1)
        count = min(self.topk, probabilities.shape[1])
        values, classes = torch.topk(probabilities, count, dim=1)
        return map_class_to_label(values.tolist(), self.mapping, classes.tolist())
