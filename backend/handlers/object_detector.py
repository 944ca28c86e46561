"""The built-in handler ``object_detector``."""

from __future__ import annotations

from typing import Any, Final

import torch

from ..timer import timed
from .transforms import Compose, ToRGB, ToTensor
from .vision_handler import VisionHandler

_LABELS: Final = 1000
"""Labels that can be explained; the same number for whatever is found on the way."""


class ObjectDetector(VisionHandler):
    """Answers the boxes that a detection model finds.

    The model gets a tensor of shape (rows, 3, height, width) and returns for each row a dict of
    tensors: ``boxes`` (n, 4), ``labels`` (n,) and ``scores`` (n,).

    Attributes:
        threshold: lowest score that is answered.
    """

    image_processing: Any = Compose([ToRGB(), ToTensor()])
    threshold = 0.5
    default_target = None

    def explained_scores(self, outputs: list[dict[str, torch.Tensor]]) -> torch.Tensor:
        """The sum of the scores of all boxes of a label, shape (rows, labels)."""
        return torch.stack([_score_sums(each["labels"], each["scores"]) for each in outputs])

    @timed
    def postprocess(self, data: list[dict[str, torch.Tensor]]) -> list[list[dict[str, Any]]]:
        """Keep the boxes of high score, in the model's order.

        Args:
            data: the model's output.

        Returns:
            For each row a list of ``{label: [x1, y1, x2, y2], "score": score}``.
        """
        return [self._boxes(detections) for detections in data]

    def _boxes(self, detections: dict[str, torch.Tensor]) -> list[dict[str, Any]]:
        columns = (detections[name].tolist() for name in ("boxes", "labels", "scores"))
        return [
            {self._label(label): box, "score": score}
            for box, label, score in zip(*columns, strict=True)
            if score >= self.threshold
        ]

    def _label(self, number: int) -> str:
        return str(number) if self.mapping is None else self.mapping[str(number)]


def _score_sums(labels: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
    known = labels < _LABELS
    return scores.new_zeros(_LABELS).index_add(0, labels[known], scores[known])
