"""Handler of the demo model ``imagenet``: what is in a picture, and why.

The base class does what all image handlers do: decoding, several pictures in a request, refusing
a bad one without its neighbours, explanations as pictures and pages. Here is what this model does
in its own way: how a picture is prepared, what is attributed, and how the JSON is written.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from answers import to_json  # type: ignore[import-not-found]  # beside this file in the archive
from pictures import prepare, to_image  # type: ignore[import-not-found]
from PIL import Image
from relevance import describe, explain, figures  # type: ignore[import-not-found]

from ts.context import Context
from ts.torch_handler.image_classifier import ImageClassifier


class ImagenetHandler(ImageClassifier):
    """Answers with the five most probable classes, or with an explanation of one class."""

    image_processing = staticmethod(prepare)
    default_target = None  # without a class in the request, the most probable one is explained

    def _load_pickled_model(
        self, model_dir: str, model_file: str, model_pt_path: str | None
    ) -> Any:
        model = super()._load_pickled_model(model_dir, model_file, model_pt_path)
        model.eval()
        model.fold_batch_norm()
        # Explanations need gradients of the features only.
        return model.requires_grad_(requires_grad=False)

    def handle(self, data: Any, context: Context) -> list[str | bytes]:
        """One answer for each row; pictures and pages are bytes already."""
        answers = super().handle(data, context)
        return [self._write(row, answer) for row, answer in enumerate(answers)]

    def _write(self, row: int, answer: Any) -> str | bytes:
        if isinstance(answer, bytes):
            return answer
        self.context.set_response_content_type(row, "application/json")
        text: str = to_json(answer)
        return text

    def postprocess(self, data: torch.Tensor) -> list[dict[str, float]]:
        """Labels and rounded probabilities for each picture."""
        answers = super().postprocess(data)
        return [{label: round(value, 4) for label, value in each.items()} for each in answers]

    def get_insights(self, tensor_data: torch.Tensor, _: Any, target: Any = 0) -> Any:
        """Why each picture is, or might be, of its class.

        Args:
            tensor_data: prepared pictures, shape (rows, 3, 224, 224).
            _: not used.
            target: number of the class, or one for each row.
        """
        targets = target if isinstance(target, list) else [target] * len(tensor_data)
        model, labels = self.differentiable_model, self.mapping or {}
        return [
            {"class": labels[str(number)], **describe(explain(model, picture, number))}
            for picture, number in zip(tensor_data, targets, strict=True)
        ]

    def relevance_of(self, insight: Any) -> torch.Tensor:
        """The map of 7 x 7 places."""
        return torch.tensor(insight["relevance"])

    def picture_of(self, image: torch.Tensor) -> Image.Image:
        """The picture as the model saw it."""
        picture: Image.Image = to_image(image)
        return picture

    def figures_of(self, image: torch.Tensor, insight: Any, target: Any) -> Mapping[str, Any]:
        """The numbers of the explanation."""
        del image, target
        numbers: Mapping[str, Any] = figures(insight)
        return numbers
