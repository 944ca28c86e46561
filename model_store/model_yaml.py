"""Read a YAML file of an archive into plain data that is safe to hand on.

It is ``model-config.yaml``, or the specification of a workflow. Only the YAML is judged here, not
its keys: those are `config`'s, `workflow_spec`'s, or the handler's.
"""

from __future__ import annotations

from typing import Any, Final

import yaml

from tsl.protocol.errors import InvalidArchive
from tsl.protocol.safe_yaml import LOADER, load_plain

MAX_YAML_BYTES: Final = 1024 * 1024
MAX_YAML_NODES: Final = 200_000
"""Values in the file, with each alias counted as large as what it stands for."""
MAX_YAML_DEPTH: Final = 100


def load_model_yaml(
    text: bytes, name: str = "The model's configuration file"
) -> dict[Any, Any] | None:
    """Parse the content of ``model-config.yaml``.

    Args:
        text: YAML in UTF-8 or UTF-16.
        name: what the messages of errors call the file.

    Returns:
        The mapping, built of plain data only; None for a file without content.

    Raises:
        InvalidArchive: not YAML, not a mapping, or larger than a configuration can be.
    """
    if len(text) > MAX_YAML_BYTES:
        msg = f"{name} is larger than {MAX_YAML_BYTES} bytes."
        raise InvalidArchive(msg)
    try:
        _check_size(text, name)
        document = load_plain(text)
    except (yaml.YAMLError, ValueError, RecursionError, TypeError) as error:
        msg = f"{name} is not valid YAML: {_one_line(error)}."
        raise InvalidArchive(msg) from error
    if document is None or isinstance(document, dict):
        return document
    msg = f"{name} must hold a mapping of keys to values."
    raise InvalidArchive(msg)


def _check_size(text: bytes, name: str) -> None:
    """Refuse a document that aliases blow up, before anything is built of it.

    Ten lines of aliases to aliases make a thousand million values. The parser shares them,
    but merge keys copy, and so does everything that writes the data out.
    """
    sizes: dict[str, int] = {}  # what each complete anchor stands for, in nodes
    open_nodes: list[tuple[str | None, int]] = []  # anchor, nodes seen before it
    total = 0
    for event in yaml.parse(text, Loader=LOADER):
        if isinstance(event, yaml.AliasEvent):
            if event.anchor not in sizes:
                msg = f"The alias {event.anchor!r} stands for nothing, or contains itself."
                raise InvalidArchive(msg)
            total += sizes[event.anchor]
        elif isinstance(event, yaml.ScalarEvent):
            total += 1
            if event.anchor:
                sizes[event.anchor] = 1
        elif isinstance(event, yaml.CollectionStartEvent):
            open_nodes.append((event.anchor, total))
            total += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            anchor, before = open_nodes.pop()
            if anchor:
                sizes[anchor] = total - before
        if total > MAX_YAML_NODES or len(open_nodes) > MAX_YAML_DEPTH:
            msg = f"{name} is nested too deeply or has too many values."
            raise InvalidArchive(msg)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())
