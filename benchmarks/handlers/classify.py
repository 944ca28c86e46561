"""The classifier of the comparison as a handler; its files lie beside it in the archive."""

from pathlib import Path
from typing import Any

from work import Classifier  # type: ignore[import-not-found]

_loaded: list[Any] = []


def handle(data: list[dict[str, Any]] | None, context: Any) -> list[Any] | None:
    """One answer per row."""
    if data is None:  # the call at load time
        _loaded.append(Classifier(Path(context.system_properties["model_dir"])))
        return None
    answers: list[bytes] = _loaded[0]([row.get("body") or row.get("data") for row in data])
    return [answer.decode() for answer in answers]
