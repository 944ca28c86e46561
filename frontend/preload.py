"""Which heavy modules a model's handler is going to import, found without running anything.

The nursery imports them once, before it forks. A wrong guess costs time, never correctness: a
module that was not foreseen is imported by the worker itself.
"""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Final

MAX_SOURCE_BYTES: Final = 1024 * 1024
_IMPORT: Final = re.compile(
    r"^[ \t]*(?:from|import)[ \t]+(torch\b|PIL\b|ts\.torch_handler\.(?!distributed)\w+)",
    re.MULTILINE,
)
_MAIN_MODULE: Final = {"PIL": "PIL.Image"}
"""What everybody wants of a package that imports nothing by itself."""
_NOT_FORKED: Final = re.compile(
    r"^(?:minWorkers:[ \t]*0[ \t]*$|workerStart:[ \t]*[\"']?spawn|useVenv:[ \t]*true|parallelType:)",
    re.MULTILINE,
)
"""Settings of a model that has no workers at first, or whose workers are fresh processes."""
_MANIFEST: Final = "MAR-INF/MANIFEST.json"
_BUILT_IN: Final = (
    "base_handler",
    "image_classifier",
    "image_segmenter",
    "object_detector",
    "text_classifier",
    "densenet_handler",
    "text_handler",
    "vision_handler",
)


def is_built_in(model_dir: Path, handler: str) -> bool:
    """Whether a handler string names one of our handlers, and not a file of the archive."""
    name = _module(handler)
    return name in _BUILT_IN and not (model_dir / f"{name}.py").exists()


def _module(handler: str) -> str:
    return handler.split(":")[0].removesuffix(".py").rsplit("/", 1)[-1]


def find_preload(model_dir: Path, handler: str) -> tuple[str, ...]:
    """Modules worth importing before the fork.

    Args:
        model_dir: folder of the unpacked archive.
        handler: handler string; a built-in name means a module of ours.

    Returns:
        Module names, sorted; empty when the handler seems to need none of those worth it.
    """
    sources = {path.name: _read(path) for path in model_dir.glob("*.py")}
    return tuple(sorted(_find(handler, sources)))


def expected_modules(archive: Path) -> frozenset[str]:
    """What `find_preload` is going to say of a model that is not unpacked yet.

    Args:
        archive: a zip file, or a folder; of anything else nothing is expected, nor of a model that
            has no workers at first, or none that are forked.
    """
    try:
        if archive.is_dir():
            return _expected(archive)
        with zipfile.ZipFile(archive) as file:
            return _expected(zipfile.Path(file))
    except Exception:  # archives are broken in every way there is, and the store says in which
        return frozenset()


def _expected(root: Path | zipfile.Path) -> frozenset[str]:
    model = json.loads(_head(root / _MANIFEST))["model"]
    settings = model.get("configFile")
    if settings and _NOT_FORKED.search(_head(root / settings)):
        return frozenset()
    sources = {each.name: _head(each) for each in root.iterdir() if each.name.endswith(".py")}
    return _find(model["handler"], sources)


def _find(handler: str, sources: Mapping[str, str]) -> frozenset[str]:
    """Modules that the sources in a model's folder import, and its built-in handler."""
    found = {name for source in sources.values() for name in _IMPORT.findall(source)}
    modules = {_MAIN_MODULE.get(name, name) for name in found}
    name = _module(handler)
    if name in _BUILT_IN and f"{name}.py" not in sources:
        modules.add(f"ts.torch_handler.{name}")
    return frozenset(modules)


def _head(file: Path | zipfile.Path) -> str:
    with file.open("rb") as content:
        return content.read(MAX_SOURCE_BYTES).decode(errors="replace")


def _read(source: Path) -> str:
    """The text of a source; "" for what is too large, no file, or not to be read by us."""
    try:
        if not source.is_file() or source.stat().st_size > MAX_SOURCE_BYTES:
            return ""
        return source.read_text(encoding="utf-8", errors="replace")
    except OSError:  # the worker will say what is wrong with it
        return ""
