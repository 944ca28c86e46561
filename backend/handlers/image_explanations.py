"""Explanations of image models: the class to explain, how it is shown, and what is computed.

Functions over a `VisionHandler`, not methods of it: subclasses of handlers have names of their
own, and must not replace ours by accident.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import torch
from PIL import Image

from tsl.protocol.errors import InvalidInput, TslError, Unsupported

from ..regroup import refuse_rows
from ..rows import RequestRow
from .base_handler import call_get_insights, field_of
from .heat_map import ExplainedImage, to_page, to_png
from .views import View, wanted_view

if TYPE_CHECKING:
    from ..context import Context
    from .vision_handler import VisionHandler

STEPS: Final = 15
"""Points on the way from the black image, as in TorchServe."""
IMAGES_AT_ONCE: Final = 16
"""Points that share a forward and a backward pass: bounds the memory of an explanation."""

_ROUNDING: Final = 0.01
PAGE_POLICY: Final = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
"""For the header ``content-security-policy`` of a page."""


def explained_forward(handler: VisionHandler, images: torch.Tensor) -> torch.Tensor:
    """The scores that are explained, shape (rows, classes), with gradients.

    Raises:
        Unsupported: the model cannot have gradients.
    """
    model = handler.differentiable_model
    if model is None:
        model = handler.model
    if not callable(model):
        msg = "This model has no gradients, so it cannot be explained."
        raise Unsupported(msg, hint="Serve it as TorchScript or from a model file.")
    return handler.explained_scores(model(images))


def integrated_gradients(handler: VisionHandler, images: torch.Tensor, target: Any) -> torch.Tensor:
    """Attribute scores to the values of processed images.

    Args:
        handler: its ``ig`` and its model are used.
        images: shape (rows, channels, height, width).
        target: number of the class, or one for each row.

    Returns:
        Shape of ``images``.

    Raises:
        InvalidInput: the only row asks for a class that the model does not have.
        Regroup: some row does.
        Unsupported: the model has no gradients.
    """
    with torch.no_grad():
        scores = explained_forward(handler, images)
    _check_targets(scores, target, len(images))
    try:
        attributions: torch.Tensor = handler.ig.attribute(
            images,
            target=target if scores.dim() > 1 else None,
            n_steps=STEPS,
            internal_batch_size=max(IMAGES_AT_ONCE, len(images)),
        )
    except RuntimeError as error:
        if "require grad" not in str(error):
            raise
        msg = "The score of this class has no gradients, so it cannot be explained."
        raise Unsupported(msg) from error
    return attributions


def _check_targets(scores: torch.Tensor, target: Any, count: int) -> None:
    """Refuse rows whose class is none of the model's; raises what `refuse_rows` raises."""
    if scores.dim() != 2:
        return
    classes = scores.shape[1]
    targets = target if isinstance(target, list) else [target] * count
    refused: dict[int, TslError] = {
        row: InvalidInput(f"There is no class {number}; this model has 0 to {classes - 1}.")
        for row, number in enumerate(targets)
        if not (type(number) is int and 0 <= number < classes)
    }
    refuse_rows(refused, count)


# -- which class -----------------------------------------------------------------------------


def explain_images(handler: VisionHandler, prepared: Any, rows: Sequence[Any]) -> Any:
    """Explain a batch of images.

    Args:
        handler: does it, by its ``get_insights``.
        prepared: what its ``preprocess`` returned.
        rows: as it got them; an `ImageRow` knows in which form it is wanted.

    Returns:
        For each row what ``get_insights`` says; an `ExplainedImage` for rows that are to
        be shown.
    """
    views = [getattr(row, "view", View.JSON) for row in rows]
    targets = _choose_targets(handler, prepared, rows, views)
    insights = call_get_insights(handler, prepared, rows, targets)
    if all(view is View.JSON for view in views):
        return insights
    return [
        insight
        if view is View.JSON
        else _explained_image(handler, prepared[row], insight, targets[row])
        for row, (insight, view) in enumerate(zip(insights, views, strict=True))
    ]


def _choose_targets(
    handler: VisionHandler, prepared: Any, rows: Sequence[Any], views: Sequence[View]
) -> list[Any]:
    targets: list[Any] = []
    refused: dict[int, TslError] = {}
    for number, (row, view) in enumerate(zip(rows, views, strict=True)):
        target: Any = None
        try:
            target = named_class(field_of(row, "target"), handler.mapping or {})
        except InvalidInput as error:
            refused[number] = error
        targets.append(handler.default_target if target is None and view is View.JSON else target)
    refuse_rows(refused, len(rows))
    if None in targets:
        with torch.no_grad():
            scores = explained_forward(handler, prepared)
        best = scores.flatten(1).argmax(dim=1).tolist()
        targets = [best[row] if target is None else target for row, target in enumerate(targets)]
    return targets


def named_class(value: Any, labels: Mapping[str, str]) -> Any:
    """The class that a client means.

    Args:
        value: a number or a label, as text, bytes or number; a list of numbers is a place in
            an output of more dimensions.
        labels: label by number as text.

    Returns:
        The number, a tuple for a list; None when the client names none.

    Raises:
        InvalidInput: there is no such class.
    """
    if isinstance(value, bytes | bytearray):
        value = value.decode("utf-8", "replace")
    if isinstance(value, str):
        value = value.strip()
    if value is None or value == "":
        return None
    if isinstance(value, list) and value and all(type(number) is int for number in value):
        return tuple(value)
    if type(value) is int or (isinstance(value, str) and value.isdecimal()):
        if not labels or str(int(value)) in labels:
            return int(value)
    elif isinstance(value, str):
        for number, label in labels.items():
            if label.lower() == value.lower():
                return int(number)
    numbers = f" from 0 to {len(labels) - 1}" if labels else ""
    example = f" or a label such as {next(iter(labels.values()))!r}" if labels else ""
    msg = f"There is no class {str(value)[:40]!r}; 'target' is a class number{numbers}{example}."
    raise InvalidInput(msg)


# -- how it is shown -------------------------------------------------------------------------


def wanted_views(context: Context, data: Sequence[Any]) -> list[View]:
    """The form of each request's explanation.

    Args:
        context: of the batch.
        data: its rows. What an envelope has unwrapped is answered in its protocol, as JSON.

    Raises:
        InvalidInput: the only request names a format that there is not.
        Regroup: some request does.
    """
    if not all(isinstance(row, RequestRow) for row in data):
        return [View.JSON] * len(data)
    views: list[View] = []
    refused: dict[int, TslError] = {}
    for number in range(len(data)):
        try:
            views.append(wanted_view(context.get_all_request_header(number)))
        except InvalidInput as error:
            refused[number] = error
    refuse_rows(refused, len(data))
    return views


def present(context: Context, row: int, answers: Sequence[Any], view: View) -> Any:
    """One request's answer in the form it asked for.

    Args:
        context: gets the content type.
        row: number of the request.
        answers: one for each of its images.
        view: the form.
    """
    images = [answer for answer in answers if isinstance(answer, ExplainedImage)]
    if not images:
        return answers[0] if len(answers) == 1 else list(answers)
    if view is View.PNG:
        context.set_response_content_type(row, "image/png")
        return to_png([image.draw() for image in images])
    context.set_response_content_type(row, "text/html; charset=utf-8")
    context.set_response_header(row, "content-security-policy", PAGE_POLICY)
    return to_page(context.model_name, images)


def _explained_image(
    handler: VisionHandler, image: torch.Tensor, insight: Any, target: Any
) -> ExplainedImage:
    labels = handler.mapping or {}
    (answer,) = handler.postprocess(handler.inference(image.unsqueeze(0)))
    is_table = isinstance(answer, dict) and all(type(v) is float for v in answer.values())
    return ExplainedImage(
        picture=handler.picture_of(image),
        relevance=handler.relevance_of(insight),
        label=labels.get(str(target), f"class {target}"),
        top=answer if is_table else {},
        figures=handler.figures_of(image, insight, target),
    )


def sum_channels(insight: Any) -> torch.Tensor:
    """The map of an image, shape (rows, columns), from attributions (channels, rows, columns).

    Raises:
        InvalidInput: these are no attributions.
    """
    try:
        values = torch.as_tensor(insight)
    except (TypeError, ValueError, RuntimeError) as error:
        msg = "The explanations of this model cannot be drawn."
        raise InvalidInput(msg, hint="Ask for format=json.") from error
    return values.flatten(0, -3).sum(dim=0) if values.dim() > 2 else values


def to_picture(image: torch.Tensor, transforms: Sequence[Any]) -> Image.Image:
    """The picture as the model saw it.

    Args:
        image: processed image, shape (channels, height, width).
        transforms: what it went through; the last one that has ``mean`` and ``std`` is undone.
    """
    values = image.detach().float().cpu()
    for step in reversed(transforms):
        if hasattr(step, "mean") and hasattr(step, "std"):  # ours, or torchvision's
            mean, std = (torch.as_tensor(each).view(-1, 1, 1) for each in (step.mean, step.std))
            values = values * std + mean
            break
    low, high = values.min().item(), values.max().item()
    if low < -_ROUNDING or high > 1 + _ROUNDING:  # some other scale
        values = (values - low) / ((high - low) or 1.0)
    if values.shape[0] != 3:
        values = values.mean(dim=0, keepdim=True).expand(3, -1, -1)
    levels = values.clamp(0, 1).mul(255).round().to(torch.uint8).permute(1, 2, 0).contiguous()
    return Image.frombytes("RGB", (levels.shape[1], levels.shape[0]), levels.numpy().tobytes())


def convergence(
    handler: VisionHandler, image: torch.Tensor, insight: Any, target: Any
) -> dict[str, Any]:
    """Whether all attributions together are what the image adds to the score.

    Args:
        handler: its model is asked for the scores.
        image: the processed image.
        insight: what ``get_insights`` says about it.
        target: the class.
    """
    with torch.no_grad():
        scores = explained_forward(handler, torch.stack([image, torch.zeros_like(image)]))
    place = (slice(None), *(target if isinstance(target, tuple) else (target,)))
    score, baseline = (scores if scores.dim() == 1 else scores[place]).tolist()
    total = torch.as_tensor(insight).sum().item()
    return {
        "method": f"integrated gradients in {STEPS} steps from the black image",
        "score of the class": score,
        "score of the black image": baseline,
        "sum of all attributions": total,
        "convergence delta": total - (score - baseline),
    }
