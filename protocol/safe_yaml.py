"""YAML, read as plain data only: no tag of a document makes anything else of it."""

from __future__ import annotations

from typing import Any, Final

import yaml

LOADER: Final[Any] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
"""The C parser is ten times faster; not every build of PyYAML has it."""


def load_plain(document: Any) -> Any:
    """Mappings, lists, texts, numbers, dates and None.

    Args:
        document: text, bytes, or an open file.

    Raises:
        yaml.YAMLError: it is not YAML, or wants to be more than data.
    """
    return yaml.load(document, Loader=LOADER)  # noqa: S506 - both are safe loaders
