"""Names of models and versions: which may be, and which follows from a file name."""

from __future__ import annotations

import re
from typing import Final

from tsl.protocol.errors import InvalidParameter, TslError

MAX_NAME_LENGTH: Final = 255

_CONTROL: Final = re.compile(r"[\x00-\x1f\x7f-\x9f\ud800-\udfff]")
_NOT_A_WORD: Final = re.compile(r"\W", re.ASCII)


def check_name(name: str, parameter: str, error: type[TslError] = InvalidParameter) -> None:
    """Refuse a name that no request could have in its path.

    Args:
        name: a model's name or version.
        parameter: what it was given as, for the message.
        error: class to raise.

    Raises:
        TslError: of the given class; the name is empty, too long, ``.`` or ``..``, or has a
            slash or a control character.
    """
    if not name or name in (".", ".."):
        msg = f"{parameter} must not be {name!r}."
    elif len(name) > MAX_NAME_LENGTH:
        msg = f"{parameter} must not be longer than {MAX_NAME_LENGTH} characters."
    elif "/" in name:
        msg = f"{parameter} must not contain a slash: no path could reach {name!r}."
    elif _CONTROL.search(name):
        msg = f"{parameter} must not contain control characters: {name!r}."
    else:
        return
    raise error(msg)


def default_name(file_name: str) -> str:
    """Name of a model whose archive has none: ``no-man.ifest.mar`` becomes ``no_man_ifest``.

    Args:
        file_name: name of its archive or folder, without path.
    """
    stem = file_name
    if file_name.endswith((".mar", ".model")):
        stem = file_name.rpartition(".")[0]
    return _NOT_A_WORD.sub("_", stem)
