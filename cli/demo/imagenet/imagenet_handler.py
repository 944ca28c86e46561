"""Handler of the demo model ``imagenet``: what is in a picture, and why.

All pictures of a batch share one forward pass, whichever requests they came with. A request
that cannot be served is answered by itself; the others of its batch do not notice.
"""

from __future__ import annotations

from typing import Any

import torch
from answers import (  # type: ignore[import-not-found]  # beside this file in the archive
    PictureRequest,
    UnknownClass,
    find_class,
    refuse,
    to_json,
)
from pictures import (  # type: ignore[import-not-found]
    UnreadablePicture,
    find_pictures,
    read_pictures,
    to_image,
)
from relevance import describe, draw, explain, to_png  # type: ignore[import-not-found]

from ts.context import Context
from ts.torch_handler.vision_handler import VisionHandler


class ImagenetHandler(VisionHandler):
    """Answers with the five most probable classes, or with an explanation of one class."""

    topk = 5

    def initialize(self, context: Context) -> None:
        """Load the model and make it ready for serving."""
        super().initialize(context)
        self.model.fold_batch_norm()
        # Explanations need gradients of the features only.
        self.model.requires_grad_(requires_grad=False)

    def preprocess(self, data: Any) -> Any:
        """Decode the rows.

        Returns:
            A `PictureRequest` for each row; one that cannot be served has a refusal.
        """
        return [self._read(idx, row) for idx, row in enumerate(data)]

    def inference(self, data: list[PictureRequest], *_: Any, **__: Any) -> list[PictureRequest]:
        """Fill in the probabilities of all requests by one forward pass."""
        accepted = [request for request in data if request.images is not None]
        if accepted:
            images = torch.cat([request.images for request in accepted]).to(self.device)
            with torch.inference_mode():
                probabilities = self.model(images).softmax(dim=1).cpu()
            counts = [len(request.images) for request in accepted]
            for request, rows in zip(accepted, probabilities.split(counts), strict=True):
                request.probabilities = rows
        return data

    def postprocess(self, data: list[PictureRequest]) -> list[str | bytes]:
        """One answer for each row."""
        return [self._answer(idx, request) for idx, request in enumerate(data)]

    def explain_handle(self, data_preprocess: Any, raw_data: Any) -> list[str | bytes]:
        """One answer for each row: `postprocess` knows which rows ask for an explanation."""
        del raw_data
        return self.postprocess(self.inference(data_preprocess))

    # -- one row -----------------------------------------------------------------------------

    def _read(self, idx: int, row: Any) -> PictureRequest:
        is_explanation = self.context.get_request_header(idx, "explain") == "True"
        try:
            images = read_pictures(find_pictures(row))
            target = find_class(_field(row, "target"), self.mapping) if is_explanation else None
        except (UnreadablePicture, UnknownClass) as error:
            return PictureRequest(refusal=str(error))
        return PictureRequest(images=images, target=target, is_explanation=is_explanation)

    def _answer(self, idx: int, request: PictureRequest) -> str | bytes:
        self.context.set_response_content_type(idx, "application/json")
        if request.images is None:
            self.context.set_response_status(400, "Bad Request", idx)
            answer: str | bytes = refuse(request.refusal)
        elif request.is_explanation:
            answer = self._explain(idx, request)
        else:
            answer = to_json([self._classify(row) for row in request.probabilities])
        return answer

    def _classify(self, probabilities: torch.Tensor) -> dict[str, float]:
        best = probabilities.topk(self.topk)
        pairs = zip(best.indices.tolist(), best.values.tolist(), strict=True)
        return {self._name(number): round(probability, 4) for number, probability in pairs}

    def _explain(self, idx: int, request: PictureRequest) -> str | bytes:
        targets = [
            row.argmax().item() if request.target is None else request.target
            for row in request.probabilities
        ]
        relevances = [
            explain(self.model, image.to(self.device), target)
            for image, target in zip(request.images, targets, strict=True)
        ]
        if self._wants_png(idx):
            self.context.set_response_content_type(idx, "image/png")
            pictures = [to_image(image) for image in request.images]
            sheet: bytes = to_png([draw(*pair) for pair in zip(relevances, pictures, strict=True)])
            return sheet
        documents = [
            {"class": self._name(target), **describe(relevance)}
            for target, relevance in zip(targets, relevances, strict=True)
        ]
        text: str = to_json(documents)
        return text

    def _wants_png(self, idx: int) -> bool:
        headers = self.context.get_all_request_header(idx)
        # The names are spelled as the client spelled them.
        accepted = [str(value) for name, value in headers.items() if name.lower() == "accept"]
        return any("image/png" in value.lower() for value in accepted)

    def _name(self, number: int) -> str:
        return self.mapping[str(number)] if self.mapping else str(number)


def _field(row: Any, name: str) -> Any:
    """A value of a form, or a member of a JSON body."""
    body = row.get("body")
    return body.get(name) if isinstance(body, dict) else row.get(name)
