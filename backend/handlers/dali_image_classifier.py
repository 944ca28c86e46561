"""The built-in handler ``dali_image_classifier``."""

from __future__ import annotations

from typing import Any

import torch

from .dali_handler import DALIHandler
from .image_classifier import ImageClassifier


class DALIImageClassifier(DALIHandler):
    """Answers the most probable classes of an image that DALI has decoded.

    Attributes:
        topk: how many classes.
    """

    topk = 5

    def set_max_result_classes(self, topk: int) -> None:
        """Change how many classes are answered."""
        self.topk = topk

    def get_max_result_classes(self) -> int:
        """How many classes are answered."""
        return self.topk

    def postprocess(self, data: torch.Tensor) -> Any:
        """Turn scores into probabilities of labels, as `ImageClassifier` does."""
        return _POSTPROCESS(self, data)


_POSTPROCESS: Any = ImageClassifier.postprocess
"""Needs ``topk``, ``mapping`` and ``context`` of its object, nothing else of its class."""
