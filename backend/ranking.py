"""The best classes of an output that is an array; see `classification`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from tsl.protocol.errors import InvalidInput
from tsl.protocol.tensors import join_bytes

from .arrays import DTYPES, Array, OutputTensor
from .classification import Labels, class_text, ranked


def classified(output: OutputTensor, count: int, labels: Labels) -> OutputTensor:
    """The best classes of an output.

    Args:
        output: scores, shape ``(..., classes)``; one that has no dimension is a single score.
        count: how many are wanted; the answer has no more than there are.
        labels: by class index.

    Returns:
        ``BYTES``, shape ``(..., min(count, classes))``.

    Raises:
        InvalidInput: the output has no numbers.
    """
    if output.datatype == "BYTES":
        msg = f"Output {output.name!r} is BYTES, which cannot be ranked; ask for it as it is."
        raise InvalidInput(msg)
    scores = _scores(output)
    best = _best(scores)[..., :count]
    ranked = np.take_along_axis(scores, best, axis=-1)
    items = [
        class_text(score, index, labels.get(index))
        for score, index in zip(ranked.reshape(-1).tolist(), best.reshape(-1).tolist(), strict=True)
    ]
    return OutputTensor(output.name, "BYTES", list(best.shape), join_bytes(items))


def scores_of(value: Any) -> Any:
    """An output as a handler gives it; of a dict of label to score, the scores."""
    return [*value.values()] if isinstance(value, dict) else value


def classified_by_name(
    name: str, scores: Mapping[Any, Any], count: int, labels: Labels
) -> OutputTensor:
    """The best of the classes that a handler has named.

    Args:
        name: of the output.
        scores: label to score, a number of any kind.
        count: how many are wanted.
        labels: tell the index of a label; that of another is its place in the dict.

    Raises:
        InvalidInput: the scores are no numbers.
    """
    plain = {
        label: score.item() if hasattr(score, "item") else score for label, score in scores.items()
    }
    best = ranked(plain, count, labels)
    if best is None:
        raise InvalidInput(
            f"Output {name!r} has no scores that could be ranked; ask for it as it is."
        )
    texts, shape = best
    return OutputTensor(name, "BYTES", shape, join_bytes(text.encode() for text in texts))


def _scores(output: OutputTensor) -> Array:
    shape: Sequence[int] = output.shape or [1]
    if output.datatype == "BF16":
        wide: Array = np.left_shift(np.frombuffer(output.raw, "<u2").astype("<u4"), 16)
        return np.asarray(wide.view("<f4").reshape(shape))
    array: Array = np.frombuffer(output.raw, DTYPES[output.datatype]).reshape(shape)
    return array.astype(np.uint8) if array.dtype == bool else array


def _best(scores: Array) -> Array:
    """Indices of the last dimension, highest score first; of equal ones the first one, NaN last."""
    if scores.dtype.kind == "f":
        return np.argsort(-scores, axis=-1, kind="stable")
    last = scores.shape[-1] - 1  # a negated integer may be none
    return np.asarray(last - np.argsort(scores[..., ::-1], axis=-1, kind="stable")[..., ::-1])
