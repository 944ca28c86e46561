"""Which functions a workflow's handler file has, found without running it.

A function that is missing would otherwise show only when its worker has failed to load, some
seconds later and far away in the model log.
"""

from __future__ import annotations

import ast
import warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from tsl.protocol.workflow_errors import InvalidWorkflow

MAX_SOURCE_BYTES: Final = 4 * 1024 * 1024
_DYNAMIC: Final = frozenset({"exec", "globals", "setattr", "vars", "__getattr__"})
"""A file that has these names may define others while it is imported."""


def check_functions(path: Path, functions: Iterable[str]) -> None:
    """Refuse a handler file that cannot have the functions.

    Args:
        path: the handler file.
        functions: nodes of the dag that are no models.

    Raises:
        InvalidWorkflow: the file is missing, is no Python, or lacks a function.
    """
    try:
        with path.open("rb") as file:
            source = file.read(MAX_SOURCE_BYTES + 1)
    except OSError as error:
        msg = f"The handler file {path.name!r} of the workflow cannot be read: {error.strerror}."
        raise InvalidWorkflow(msg) from error
    if len(source) > MAX_SOURCE_BYTES:
        msg = f"The handler file {path.name!r} is larger than {MAX_SOURCE_BYTES} bytes."
        raise InvalidWorkflow(msg)
    try:
        with warnings.catch_warnings():  # about style, which is not asked for
            warnings.simplefilter("ignore")
            tree = ast.parse(source, path.name)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        msg = f"The handler file {path.name!r} cannot be compiled: {error}."
        raise InvalidWorkflow(msg) from error
    names = _bound_names(tree)
    missing = [name for name in functions if names is not None and name not in names]
    if missing:
        msg = (
            f"The dag has nodes that are neither in models nor functions of the handler file"
            f" {path.name!r}: {', '.join(missing)}."
        )
        raise InvalidWorkflow(msg)


def _bound_names(tree: ast.Module) -> set[str] | None:
    """Names that the module has once it is imported; None when only an import could tell."""
    names: set[str] = set()
    waiting: list[ast.AST] = list(tree.body)
    while waiting:
        node = waiting.pop()
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(node.name)
            continue  # what is bound inside of it is not the module's
        if isinstance(node, ast.Import | ast.ImportFrom):
            names.update((alias.asname or alias.name).split(".")[0] for alias in node.names)
        elif isinstance(node, ast.Name):
            names.add(node.id)  # also where it is only read: rather too many than too few
        waiting += ast.iter_child_nodes(node)
    return None if "*" in names or names & _DYNAMIC else names
