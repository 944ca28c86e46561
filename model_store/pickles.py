"""Tell what a weights file would run when it is loaded, without loading it.

A pickle is a program; loading it calls whatever it names. The names are read from its
instructions. What cannot be read for certain counts as dangerous: this is for people who decide
whether to trust a file, and no replacement for loading weights safely.
"""

from __future__ import annotations

import io
import pickletools
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import IO, Any, Final

MAX_PICKLE_BYTES: Final = 64 * 1024 * 1024
"""A state dictionary of ten thousand tensors has two; the tensors' bytes are elsewhere."""

SUFFIXES: Final = (".pt", ".pth", ".bin", ".ckpt", ".pkl", ".pickle", ".joblib")

_UNREADABLE: Final = "a name that cannot be read"
_MAX_LEGACY_PICKLES: Final = 8
_TENSOR_NAMES: Final = (
    "__builtin__.set",
    "builtins.set",
    "collections.OrderedDict",
    "torch.Size",
    "torch.Tensor",
    "torch._tensor._rebuild_from_type_v2",
    "torch.device",
    "torch.nn.parameter.Parameter",
    "torch.per_channel_affine",
    "torch.per_tensor_affine",
    "torch.serialization._get_layout",
)
_TORCH_TYPES: Final = (
    *("float16", "float32", "float64", "bfloat16", "complex64", "complex128"),
    *("uint8", "int8", "int16", "int32", "int64", "bool"),
)


class WeightsKind(StrEnum):
    """How a weights file is stored."""

    PICKLE = "pickle"
    TORCHSCRIPT = "TorchScript"


@dataclass(frozen=True, slots=True)
class WeightsFile:
    """What a weights file is.

    Attributes:
        name: name in the model's folder.
        kind: how it is stored.
        names: what a pickle names besides tensors and their containers, such as ``m.Model``.
    """

    name: str
    kind: WeightsKind
    names: tuple[str, ...] = ()


def read_weights_file(path: Path, name: str) -> WeightsFile | None:
    """Look into a weights file.

    Args:
        path: the file.
        name: what the result calls it.

    Returns:
        What it is; None when it is neither a pickle nor TorchScript.

    Raises:
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        magic = file.read(2)
        file.seek(0)
        if magic == b"PK":
            return _in_zip(file, name)
        if magic[:1] == b"\x80":
            return WeightsFile(name, WeightsKind.PICKLE, _dangerous(_names(file)))
    return None


def _in_zip(file: IO[bytes], name: str) -> WeightsFile | None:
    """Look into the format of ``torch.save`` and ``torch.jit.save``."""
    try:
        with zipfile.ZipFile(file) as archive:
            members = archive.namelist()
            if any("/code/" in f"/{member}" for member in members):
                return WeightsFile(name, WeightsKind.TORCHSCRIPT)
            pickles = [member for member in members if member.split("/")[-1] == "data.pkl"]
            if not pickles:
                return None
            found = set()
            for member in pickles:
                with archive.open(member) as opened:
                    found |= _names(opened)
    except (zipfile.BadZipFile, NotImplementedError, RuntimeError, EOFError, ValueError):
        found = {_UNREADABLE}
    return WeightsFile(name, WeightsKind.PICKLE, _dangerous(found))


def _names(file: IO[bytes]) -> set[str]:
    """All names in the pickles at the beginning of a file.

    Old files of ``torch.save`` are several pickles, and then bytes that are none.
    """
    names: set[str] = set()
    stream = io.BytesIO(file.read(MAX_PICKLE_BYTES))
    for number in range(_MAX_LEGACY_PICKLES):
        try:
            names.update(_names_of_one(stream))
        except (ValueError, UnicodeError, IndexError):
            if number == 0:
                names.add(_UNREADABLE)
            break
    return names


def _names_of_one(stream: io.BytesIO) -> Iterator[str]:
    memo: dict[Any, str | None] = {}
    below: str | None = None  # the two newest values, where they are texts
    top: str | None = None
    for instruction, argument, _ in pickletools.genops(stream):
        code = instruction.name
        if code in ("GLOBAL", "INST"):
            yield str(argument).replace(" ", ".")
        elif code == "STACK_GLOBAL":
            yield f"{below}.{top}" if below and top else _UNREADABLE
        elif code.startswith("EXT"):
            yield _UNREADABLE
        if code == "MEMOIZE":
            memo[len(memo)] = top
        elif code in ("PUT", "BINPUT", "LONG_BINPUT"):
            memo[argument] = top
        elif code in ("GET", "BINGET", "LONG_BINGET"):
            below, top = top, memo.get(argument)
        elif code not in ("PROTO", "FRAME"):
            is_text = "UNICODE" in code and isinstance(argument, str)
            below, top = top, argument if is_text else None


def _dangerous(names: set[str]) -> tuple[str, ...]:
    return tuple(sorted(name for name in names if not _is_of_tensors(name)))


def _is_of_tensors(name: str) -> bool:
    """Whether a name belongs to tensors and their containers.

    Whole modules would be too much: ``torch.storage`` can load pickles, and ``torch._utils`` can
    import anything.
    """
    module, _, last = name.rpartition(".")
    if module == "torch._utils":
        return last.startswith("_rebuild_")
    if module in ("torch", "torch.storage"):
        return last.endswith("Storage") or name in _TENSOR_NAMES or last in _TORCH_TYPES
    return name in _TENSOR_NAMES
