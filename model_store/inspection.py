"""Look at a model's folder without running anything of it: what it is, and what is wrong with it.

The folder is a plain one or comes from `ArchiveCache`, which has checked the archive's structure.
Python files are parsed, never imported; weights are looked at by `pickles`.
"""

from __future__ import annotations

import ast
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from tsl.protocol.errors import InvalidArchive

from .config import ServerDefaults, merge_config
from .manifest import MANIFEST_PATH, Manifest
from .model_yaml import MAX_YAML_BYTES, load_model_yaml
from .names import check_name
from .packing_members import BUILT_IN_HANDLERS, LSP_HANDLERS
from .pickles import SUFFIXES, WeightsFile, read_weights_file
from .request import RegistrationRequest

MAX_SOURCE_BYTES: Final = 4 * 1024 * 1024

_BASE_HANDLERS: Final = ("densenet_handler", "text_handler", "vision_handler")
"""Built-in modules that an archive may name, though the archiver packs a file for them."""

_TORCH: Final = ("torch", "torchvision", "torchaudio", "torchtext", "ts.torch_handler")


@dataclass(frozen=True, slots=True)
class ModelInspection:
    """What a model's folder holds.

    Attributes:
        manifest: what it says about itself.
        files: name and size in bytes of every file, by name.
        handler_file: the file with the handler; None if it is built in, missing or not named.
        is_built_in: whether the handler is one of the server's.
        config: parsed ``model-config.yaml``; None without one.
        torch_users: what imports torch: Python files, or the built-in handler.
        weights: weights files that are pickles or TorchScript.
    """

    manifest: Manifest
    files: tuple[tuple[str, int], ...]
    handler_file: str | None
    is_built_in: bool
    config: dict[Any, Any] | None
    torch_users: tuple[str, ...]
    weights: tuple[WeightsFile, ...]


def inspect_model(folder: Path) -> ModelInspection:
    """Say what a model's folder holds.

    Args:
        folder: path of a `ModelFolder`.

    Raises:
        InvalidArchive: its manifest or configuration cannot be read.
        OSError: a file cannot be read.
    """
    manifest = Manifest.read(folder)
    files = tuple(
        (path.relative_to(folder).as_posix(), path.stat().st_size)
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    )
    names = [name for name, _ in files]
    handler_file = _handler_file(folder, manifest)
    is_built_in = handler_file is None and _is_built_in(manifest)
    users = [name for name in names if name.endswith(".py") and _imports_torch(folder / name)]
    if is_built_in:
        users.insert(0, f"the built-in handler {manifest.handler}")
    weights = (
        read_weights_file(folder / name, name)
        for name in names
        if name.endswith(SUFFIXES) or name == manifest.serialized_file
    )
    yaml_text = _config_text(folder, manifest)
    return ModelInspection(
        manifest=manifest,
        files=files,
        handler_file=handler_file.relative_to(folder).as_posix() if handler_file else None,
        is_built_in=is_built_in,
        config=load_model_yaml(yaml_text) if yaml_text is not None else None,
        torch_users=tuple(users),
        weights=tuple(each for each in weights if each is not None),
    )


def find_problems(folder: Path) -> list[str]:
    """Say what would keep a model from being served as it is.

    Args:
        folder: path of a `ModelFolder`.

    Returns:
        One sentence for each problem.

    Raises:
        OSError: a file cannot be read.
    """
    if not (folder / MANIFEST_PATH).is_file():
        return [f"There is no {MANIFEST_PATH}: the model has no name and no handler."]
    try:
        manifest = Manifest.read(folder)
    except InvalidArchive as error:
        return [str(error)]
    return [
        *_name_problems(manifest),
        *_handler_problems(folder, manifest),
        *_file_problems(folder, manifest),
        *_config_problems(folder, manifest),
    ]


def _name_problems(manifest: Manifest) -> list[str]:
    problems = []
    if manifest.model_name is None:
        problems.append("The manifest has no modelName.")
    for member, name in (
        ("modelName", manifest.model_name),
        ("modelVersion", manifest.model_version),
    ):
        if name is None:
            continue
        try:
            check_name(name, f"{member} of the manifest", InvalidArchive)
        except InvalidArchive as error:
            problems.append(str(error))
    return problems


def _handler_problems(folder: Path, manifest: Manifest) -> list[str]:
    if manifest.handler is None:
        return ["The manifest has no handler."]
    path = _handler_file(folder, manifest)
    if path is not None:
        return _source_problems(path, path.relative_to(folder).as_posix())
    if _is_built_in(manifest):
        return []
    return [f"The handler {manifest.handler!r} is neither in the archive nor built in."]


def _file_problems(folder: Path, manifest: Manifest) -> list[str]:
    problems = []
    for member, name in (
        ("serializedFile", manifest.serialized_file),
        ("modelFile", manifest.model_file),
        ("requirementsFile", manifest.requirements_file),
        ("configFile", manifest.config_file),
    ):
        if name is not None and not (folder / name).is_file():
            problems.append(f"There is no file {name!r}, which the manifest names as {member}.")
    if manifest.model_file is not None and (folder / manifest.model_file).is_file():
        problems += _source_problems(folder / manifest.model_file, manifest.model_file)
    return problems


def _config_problems(folder: Path, manifest: Manifest) -> list[str]:
    try:
        yaml_text = _config_text(folder, manifest)
        request = RegistrationRequest(url="")
        _, passed_over = merge_config(yaml_text, None, request, ServerDefaults())
    except InvalidArchive as error:
        return [str(error)]
    return [f"{manifest.config_file}: {sentence}." for sentence in passed_over]


def _handler_file(folder: Path, manifest: Manifest) -> Path | None:
    """The file that the loader would import."""
    module = _module_name(manifest)
    if not module:
        return None
    for name in (f"{module}/__init__.py", f"{module}.py"):
        if (folder / name).is_file():
            return folder / name
    return None


def _is_built_in(manifest: Manifest) -> bool:
    if manifest.handler in LSP_HANDLERS:
        return manifest.runtime == "LSP"
    return _module_name(manifest) in (*BUILT_IN_HANDLERS, *_BASE_HANDLERS)


def _module_name(manifest: Manifest) -> str:
    module = (manifest.handler or "").partition(":")[0]
    return module.removesuffix(".py").rpartition("/")[2]


def _source_problems(path: Path, name: str) -> list[str]:
    try:
        with warnings.catch_warnings():  # of its style, which is not asked for
            warnings.simplefilter("ignore")
            compile(_source(path), name, "exec", dont_inherit=True)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        return [f"{name} cannot be compiled: {error}."]
    return []


def _imports_torch(path: Path) -> bool:
    """Whether a Python file imports torch anywhere; False for one that cannot be parsed."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            nodes = list(ast.walk(ast.parse(_source(path))))
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return False
    names = [alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names]
    names += [node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)]
    return any(f"{name}.".startswith(f"{torch}.") for name in names for torch in _TORCH)


def _source(path: Path) -> bytes:
    with path.open("rb") as file:
        source = file.read(MAX_SOURCE_BYTES + 1)
    if len(source) > MAX_SOURCE_BYTES:
        msg = f"it is larger than {MAX_SOURCE_BYTES} bytes"
        raise ValueError(msg)
    return source


def _config_text(folder: Path, manifest: Manifest) -> bytes | None:
    """The YAML as it stands in the archive; None without one."""
    if manifest.config_file is None or not (folder / manifest.config_file).is_file():
        return None
    with (folder / manifest.config_file).open("rb") as file:
        return file.read(MAX_YAML_BYTES + 1)
