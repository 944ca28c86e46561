"""Triton's classification extension: the best classes of an output in place of its scores.

An output that is asked for with the parameter ``classification: k`` is answered as ``BYTES``, each
element ``score:index`` or ``score:index:label``, the highest first. The last dimension of the output
are the classes; those before it stay. Labels are those of the output in ``model-config.yaml``
(``labels``), else of ``index_to_name.json``; or the handler gives a dict of label to score.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

from tsl.protocol.errors import InvalidInput, InvalidOutput

from .util import load_label_mapping

PARAMETER: Final = "classification"
LABELS_FILE: Final = "index_to_name.json"

Labels = Mapping[int, str]


def classes_asked(document: Mapping[str, Any]) -> dict[str, int]:
    """How many classes a request wants of which outputs; 0 is none, as for Triton.

    Args:
        document: the request, whose ``outputs`` have been checked.

    Raises:
        InvalidInput: a number is none.
    """
    asked: dict[str, int] = {}
    for entry in document.get("outputs") or ():
        count = (entry.get("parameters") or {}).get(PARAMETER, 0)
        if type(count) is not int or count < 0:
            msg = f"The classification of output {entry['name']!r} must be a number of classes."
            raise InvalidInput(msg)
        if count:
            asked[entry["name"]] = count
    return asked


def labels_of(model_dir: str, yaml: Any, output: str) -> Labels:
    """The labels of an output's classes, by index; none when the model has none.

    Args:
        model_dir: folder with the unpacked archive.
        yaml: content of ``model-config.yaml``.
        output: its name.

    Raises:
        InvalidOutput: ``index_to_name.json`` is not what it should be.
    """
    declared = yaml.get("outputs") if isinstance(yaml, dict) else None
    for entry in declared if isinstance(declared, list) else ():
        if isinstance(entry, dict) and entry.get("name") == output:
            labels = entry.get("labels")
            if isinstance(labels, list):
                return {index: str(label) for index, label in enumerate(labels)}
    return _labels_in(model_dir)


@lru_cache(maxsize=8)  # one model in a process; in tests, a few
def _labels_in(model_dir: str) -> Labels:
    file = Path(model_dir) / LABELS_FILE
    try:
        mapping = load_label_mapping(file) if file.is_file() else None
    except (ValueError, OSError) as error:
        raise InvalidOutput(str(error)) from error
    return {int(key): label for key, label in (mapping or {}).items() if key.isdecimal()}


def ranked(scores: Any, count: int, labels: Labels) -> tuple[list[str], list[int]] | None:
    """The best classes of a result that is made of Python's own types.

    Args:
        scores: label to score, or scores in lists of any depth; the innermost are ranked.
        count: how many are wanted.
        labels: by class index. The index of a label that they do not have is its place in the dict.

    Returns:
        The texts and their shape; None if the scores are not all numbers, or not of equal number.
    """
    rows, shape = _rows(scores)
    names: list[tuple[int, str | None]]
    if isinstance(scores, dict):
        indices = {label: index for index, label in labels.items()}
        names = [(indices.get(str(name), at), str(name)) for at, name in enumerate(scores)]
    else:
        width = len(rows[0]) if rows else 0
        names = [(index, labels.get(index)) for index in range(width)]
    if any(len(row) != len(names) or not set(map(type, row)) <= {int, float} for row in rows):
        return None
    texts = []
    for row in rows:
        best = sorted(range(len(row)), key=lambda at: -row[at])[:count]  # used here
        texts += [class_text(row[at], *names[at]).decode() for at in best]
    return texts, [*shape, min(count, len(names))]


def _rows(scores: Any) -> tuple[list[list[Any]], list[int]]:
    """The innermost lists, and the sizes of those around them."""
    if isinstance(scores, dict):
        return [list(scores.values())], []
    if not isinstance(scores, list):
        return [[scores]], []
    if not any(isinstance(each, list) for each in scores):
        return [scores], []
    below = [_rows(each) for each in scores]
    return [row for rows, _ in below for row in rows], [len(scores), *below[0][1]]


def class_text(score: float, index: int, label: str | None) -> bytes:
    """One class as Triton writes it: a float has six decimals."""
    number = f"{score:f}" if isinstance(score, float) else str(int(score))
    text = f"{number}:{index}" if label is None else f"{number}:{index}:{label}"
    return text.encode("utf-8", "replace")
