"""Explanations of text models that are to be looked at: which words speak for a class.

The numbers of a JSON answer are TorchServe's: for a model with an EmbeddingBag one for each value of
the embedding, which nobody can draw. Here each word gets its share.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

import torch

from tsl.protocol.errors import InvalidInput, TslError, Unsupported

from ..regroup import refuse_rows
from .base_handler import field_of
from .heat_map import to_png
from .image_explanations import PAGE_POLICY, named_class, wanted_views
from .views import View
from .word_map import ExplainedText, to_text_page

if TYPE_CHECKING:
    from .text_classifier import TextClassifier

STEPS: Final = 50
"""Points on the way from the text of zeros, as in TorchServe."""


def explain_texts(handler: TextClassifier, prepared: Any, rows: Sequence[Any]) -> Any:
    """Explain a batch of texts.

    Args:
        handler: does it.
        prepared: what its ``preprocess`` returned.
        rows: as it got them.

    Returns:
        For each row what ``get_insights`` says; a picture or a page for rows that ask for one.

    Raises:
        InvalidInput: the only row asks for a format or a class that there is not, or has no words.
        Regroup: some row does.
        Unsupported: the model has no gradients, or no layer ``embedding`` with words in it.
    """
    views = wanted_views(handler.context, rows)
    if all(view is View.JSON for view in views):
        return handler.explain_as_json(prepared, rows)
    if len(rows) == 1:
        return [_show(handler, 0, prepared, rows[0], views[0])]
    answers: list[Any] = []
    refused: dict[int, TslError] = {}
    for number, (row, view) in enumerate(zip(rows, views, strict=True)):
        alone = handler.preprocess([row])
        try:
            if view is View.JSON:
                answers += handler.explain_as_json(alone, [row])
            else:
                answers.append(_show(handler, number, alone, row, view))
        except (InvalidInput, Unsupported) as error:
            refused[number] = error
            answers.append(None)
    refuse_rows(refused, len(rows))
    return answers


def _show(handler: TextClassifier, number: int, prepared: Any, row: Any, view: View) -> bytes:
    """The answer to one row, and its headers."""
    text = _explained(handler, prepared, field_of(row, "target"))
    context = handler.context
    if view is View.PNG:
        context.set_response_content_type(number, "image/png")
        return to_png([text.draw()])
    context.set_response_content_type(number, "text/html; charset=utf-8")
    context.set_response_header(number, "content-security-policy", PAGE_POLICY)
    return to_text_page(context.model_name, text)


def _explained(handler: TextClassifier, prepared: Any, wanted: Any) -> ExplainedText:
    numbers, words = prepared
    if not words:
        raise InvalidInput("The text has no words, so there is nothing to explain.")
    labels = handler.mapping or {}
    target = named_class(wanted, labels)
    scores = handler.inference(prepared)
    if scores.dim() != 2:
        raise Unsupported("This model does not answer with one score for each class.")
    if target is None:
        target = int(scores.argmax(dim=1))
    if not (type(target) is int and 0 <= target < scores.shape[1]):
        last = scores.shape[1] - 1
        raise InvalidInput(f"There is no class {target}; this model has 0 to {last}.")
    per_gram, figures = attribute_grams(handler, numbers, target)
    (top,) = handler.postprocess(scores)
    return ExplainedText(
        words=handler.get_word_token(words),
        relevance=share_among_words(per_gram.tolist(), len(words), handler.ngrams),
        label=labels.get(str(target), f"class {target}"),
        top=top if isinstance(top, dict) else {},
        figures=figures,
    )


def attribute_grams(
    handler: TextClassifier, numbers: torch.Tensor, target: int
) -> tuple[torch.Tensor, dict[str, Any]]:
    """Integrated gradients of a class's score, by group of words.

    Args:
        handler: its model is called, and its layer ``embedding`` is watched.
        numbers: of one text, shape (grams,).
        target: the class.

    Returns:
        Shape (grams,), and numbers for a page.

    Raises:
        Unsupported: the model cannot be explained in this way.
    """
    model = handler.model if handler.differentiable_model is None else handler.differentiable_model
    embedding = getattr(model, "embedding", None)
    if not isinstance(embedding, torch.nn.Module):
        raise Unsupported("This model has no layer named embedding, so it cannot be explained.")
    offsets = torch.zeros(1, dtype=torch.long, device=numbers.device)
    seen: list[torch.Tensor] = []
    watch = embedding.register_forward_hook(lambda _, __, output: seen.append(output))
    try:
        with torch.no_grad():
            score = model(numbers, offsets)[0, target].item()
            baseline = model(torch.zeros_like(numbers), offsets)[0, target].item()
    finally:
        watch.remove()
    if len(seen) != 2:
        raise Unsupported("The layer embedding of this model cannot be watched.")
    end, begin = (output.detach() for output in seen)
    gradient = _mean_gradient(model, embedding, (numbers, offsets), target, begin, end)
    shares = _shares(embedding, numbers, gradient, begin, end)
    total = shares.sum().item()
    figures = {
        "method": f"integrated gradients in {STEPS} steps from a text of zeros",
        "score of the class": score,
        "score of the text of zeros": baseline,
        "sum of all attributions": total,
        "convergence delta": total - (score - baseline),
    }
    return shares, figures


def _mean_gradient(
    model: Any,
    embedding: torch.nn.Module,
    inputs: tuple[torch.Tensor, torch.Tensor],
    target: int,
    begin: torch.Tensor,
    end: torch.Tensor,
) -> torch.Tensor:
    """The gradient of the score by the embedding, averaged over the way from begin to end."""
    total = torch.zeros_like(end)
    for step in range(STEPS):
        point = (begin + (end - begin) * ((step + 0.5) / STEPS)).requires_grad_()
        hook = embedding.register_forward_hook(lambda _, __, ___, point=point: point)
        try:
            score = model(*inputs)[0, target]
            total += torch.autograd.grad(score, point)[0]
        except RuntimeError as error:
            if "grad" not in str(error):
                raise
            msg = "The score of this class has no gradients, so it cannot be explained."
            raise Unsupported(msg) from error
        finally:
            hook.remove()
    return total / STEPS


def _shares(
    embedding: torch.nn.Module,
    numbers: torch.Tensor,
    gradient: torch.Tensor,
    begin: torch.Tensor,
    end: torch.Tensor,
) -> torch.Tensor:
    """What each group of words has of the attributions."""
    count = numbers.numel()
    if isinstance(embedding, torch.nn.EmbeddingBag):
        if embedding.mode not in ("mean", "sum"):
            msg = f"An EmbeddingBag with mode {embedding.mode} has no shares of single words."
            raise Unsupported(msg, hint="Ask for format=json.")
        weights = embedding.weight.detach()
        steps = (weights[numbers] - weights[torch.zeros_like(numbers)]) * gradient
        return steps.sum(dim=-1) / (count if embedding.mode == "mean" else 1)
    attributions = ((end - begin) * gradient).sum(dim=-1).flatten()
    if attributions.numel() != count:
        raise Unsupported("The layer embedding of this model does not have one row for each word.")
    return attributions


def share_among_words(per_gram: Sequence[float], words: int, ngrams: int) -> list[float]:
    """Give the words of each group equal parts of it.

    Args:
        per_gram: in the order of `ngrams_iterator`.
        words: number of words.
        ngrams: longest group.
    """
    relevance, at = [0.0] * words, 0
    for length in range(1, ngrams + 1):
        for start in range(words - length + 1):
            for word in range(start, start + length):
                relevance[word] += per_gram[at] / length
            at += 1
    return relevance
