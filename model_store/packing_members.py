"""Choose the files of a new archive: what a `PackingOrder` names, and what each is called inside.

Nothing is written here, and no file's content is judged. All mistakes are collected, so that a
command line can show them at once.
"""

from __future__ import annotations

import filecmp
import glob
import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from tsl.protocol.errors import InvalidArchive

from .manifest import DEFAULT_RUNTIME, MANIFEST_PATH
from .unpacking import safe_parts

BUILT_IN_HANDLERS: Final = (
    "base_handler",
    "text_classifier",
    "image_classifier",
    "object_detector",
    "image_segmenter",
    "dali_image_classifier",
    "vllm_handler",
    "trt_llm_handler",
)
"""Handlers that the server has; an archive holds no file for them."""

LSP_HANDLERS: Final = ("BaseHandler", "TorchScriptHandler")
"""Handlers of the C++ back end, for archives with the runtime ``LSP``."""

_LEFT_OUT: Final = ("__pycache__", "__MACOSX")


@dataclass(frozen=True, slots=True, kw_only=True)
class PackingOrder:
    """What to pack.

    Attributes:
        model_name: name of the model and of the archive's file.
        handler: ``path/h.py``, ``path/h``, ``path/h:function``, or the name of a built-in handler.
        model_version: any text that fits into a path; the server takes 1.0 for an empty one.
        serialized_file: weights.
        model_file: Python file with the model's class.
        extra_files: files, folders (their content is packed) and patterns with wildcards.
        runtime: one of the manifest's runtimes.
        requirements_file: Python packages that the handler needs.
        config_file: the model's settings, in YAML.
    """

    model_name: str
    handler: str
    model_version: str
    serialized_file: Path | None = None
    model_file: Path | None = None
    extra_files: tuple[str, ...] = ()
    runtime: str = DEFAULT_RUNTIME
    requirements_file: Path | None = None
    config_file: Path | None = None

    @property
    def manifest_handler(self) -> str:
        """The handler as the manifest names it: without its folder."""
        return os.path.basename(self.handler)  # noqa: PTH119 - it may end in ``:function``

    @property
    def handler_file(self) -> Path | None:
        """The file with the handler; None for a built-in one."""
        if self.handler in (*BUILT_IN_HANDLERS, *LSP_HANDLERS):
            return None
        folder, name = os.path.split(self.handler)
        module = name.partition(":")[0]
        return Path(folder, module if module.endswith(".py") else f"{module}.py")


def split_extra_files(text: str | None) -> tuple[str, ...]:
    """The value of ``--extra-files``: paths and patterns, separated by commas."""
    parts = (part.strip() for part in (text or "").split(","))
    return tuple(part for part in parts if part)


@dataclass(slots=True)
class Selection:
    """The files of an archive.

    Attributes:
        members: the file for each name inside of the archive.
        problems: one sentence for each reason why it cannot be packed.
        warnings: one sentence for each thing that was probably not meant.
    """

    members: dict[str, Path] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def select_members(order: PackingOrder, *, left_out: Path | None = None) -> Selection:
    """Find the files of an archive.

    Args:
        order: what to pack.
        left_out: a file or folder that is skipped in folders and patterns: the output of an
            earlier run must not become part of the next.
    """
    return _Selector(left_out).select(order)


def select_files(
    named: Iterable[tuple[str, Path | None]],
    extra_files: Iterable[str],
    *,
    left_out: Path | None = None,
) -> Selection:
    """Find the files of an archive that is no model's.

    Args:
        named: the option that names a file, and the file; None where it is not given.
        extra_files: files, folders and patterns.
        left_out: see `select_members`.
    """
    return _Selector(left_out).select_named(named, extra_files)


class _Selector:
    """Fills a `Selection`.

    Args:
        left_out: see `select_members`.
    """

    def __init__(self, left_out: Path | None) -> None:
        self._left_out = left_out.resolve() if left_out else None
        self._selection = Selection()

    def select(self, order: PackingOrder) -> Selection:
        if order.handler_file is not None:
            self._add_handler(order.handler_file)
        named = (
            ("--serialized-file", order.serialized_file),
            ("--model-file", order.model_file),
            ("--requirements-file", order.requirements_file),
            ("--config-file", order.config_file),
        )
        return self.select_named(named, order.extra_files)

    def select_named(
        self, named: Iterable[tuple[str, Path | None]], extra_files: Iterable[str]
    ) -> Selection:
        for option, path in named:
            if path is not None and self._is_file(path, option):
                self._add(path.name, path)
        for pattern in extra_files:
            self._add_extra(pattern)
        self._refuse_files_that_are_folders()
        return self._selection

    def _add_handler(self, path: Path) -> None:
        if path.is_file():
            self._add(path.name, path)
        else:
            names = ", ".join(BUILT_IN_HANDLERS)
            self._refuse(f"--handler: there is no file {path}. Built-in handlers are {names}.")

    def _add_extra(self, pattern: str) -> None:
        if os.path.lexists(pattern):  # a name may look like a pattern
            self._add_named(Path(pattern))
            return
        if not glob.has_magic(pattern):
            self._refuse(f"--extra-files: there is no file or folder {pattern!r}.")
            return
        matches = [Path(match) for match in sorted(glob.glob(pattern))]  # noqa: PTH207 - any path
        if not matches:
            self._selection.warnings.append(f"--extra-files: nothing matches {pattern!r}.")
        for path in matches:
            if not self._is_left_out(path):
                self._add_named(path)

    def _add_named(self, path: Path) -> None:
        """Add what the user has named; a link is followed wherever it leads."""
        if path.is_dir():
            self._add_tree(path, path.resolve(), (), (path.resolve(),))
        elif self._is_file(path, "--extra-files"):
            self._add(path.name, path)

    def _add_tree(
        self, folder: Path, root: Path, prefix: tuple[str, ...], above: tuple[Path, ...]
    ) -> None:
        """Add the content of a folder.

        Args:
            folder: the folder.
            root: the real path of the folder that the user has named; no link leads out of it.
            prefix: names of the folders between the two.
            above: real paths of this folder and those above it, up to the root.
        """
        for path in sorted(folder.iterdir()):
            if self._is_left_out(path) or (path.is_symlink() and not self._may_follow(path, root)):
                continue
            parts = (*prefix, path.name)
            if path.is_dir():
                real = path.resolve()
                if real in above:
                    self._refuse(f"--extra-files: the link {path} leads to a folder above it.")
                else:
                    self._add_tree(path, root, parts, (*above, real))
            elif self._is_file(path, "--extra-files") and parts != MANIFEST_PATH.parts:
                self._add("/".join(parts), path)

    def _may_follow(self, link: Path, root: Path) -> bool:
        try:
            target = link.resolve(strict=True)
        except (OSError, RuntimeError):  # RuntimeError: links in a circle
            self._refuse(f"--extra-files: the link {link} leads to nothing.")
            return False
        if target.is_relative_to(root):
            return True
        self._refuse(
            f"--extra-files: the link {link} leads out of the folder, to {target}."
            " Name it by itself if it is meant to be packed."
        )
        return False

    def _is_left_out(self, path: Path) -> bool:
        if self._left_out is not None and path.resolve() == self._left_out:
            return True
        return path.is_dir() and (path.name in _LEFT_OUT or path.name.startswith("."))

    def _is_file(self, path: Path, option: str) -> bool:
        if path.is_file():
            return True
        if path.is_dir():
            self._refuse(f"{option}: {path} is a folder; it must be a file.")
        elif path.exists():
            self._refuse(f"{option}: {path} is neither a file nor a folder.")
        else:
            self._refuse(f"{option}: there is no file {path}.")
        return False

    def _add(self, name: str, path: Path) -> None:
        try:
            name.encode()
            safe_parts(name)
        except (InvalidArchive, UnicodeEncodeError):
            self._refuse(f"{str(path)!r} has a name that no archive may hold; rename it.")
            return
        other = self._selection.members.setdefault(name, path)
        if other is path or other.samefile(path) or filecmp.cmp(other, path, shallow=False):
            return
        self._refuse(f"Two files would be {name!r} in the archive: {other} and {path}.")

    def _refuse_files_that_are_folders(self) -> None:
        names = self._selection.members
        for name, path in names.items():
            parents = (name[:at] for at, character in enumerate(name) if character == "/")
            for parent in parents:
                if parent in names:
                    self._refuse(
                        f"{parent!r} would be a file and a folder in the archive:"
                        f" {names[parent]} and the folder of {path}."
                    )

    def _refuse(self, problem: str) -> None:
        if problem not in self._selection.problems:
            self._selection.problems.append(problem)
