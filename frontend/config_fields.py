"""How one setting is declared and how its text becomes a value.

`ServerConfig` is built from these; which settings exist is said there, not here.
Every parser takes the text as somebody wrote it, without surrounding blanks, and raises
`ValueError` with what it expected.
"""

# ruff: noqa: TRY004  (a parser's complaint is about the text, whatever type it holds)

from __future__ import annotations

import dataclasses
import json
import math
import re
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeVar

from tsl.model_store import Snapshot, parse_snapshot

from .addresses import Address

T = TypeVar("T")

MODEL_NUMBERS: Final = frozenset(
    {
        "minWorkers",
        "maxWorkers",
        "batchSize",
        "maxBatchDelay",
        "responseTimeout",
        "startupTimeout",
    }
)
"""Options of ``models`` that are numbers. What is below 1 counts as not given, as in TorchServe."""
MIN_KEY_CHARS: Final = 16
"""A key that somebody chose is at least so long; a person's words would be too easy to guess."""

_METADATA_KEY: Final = "setting"
_KEY: Final = re.compile(rf"[\x21-\x7e]{{{MIN_KEY_CHARS},1024}}")


class UnusableValue(ValueError):
    """A value that TorchServe answers with its default: a warning, the server starts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """What is known about one field of the configuration.

    Attributes:
        key: name in the properties file.
        env_name: the ``TS_*`` variable that overrides it when the file allows that; "" for none.
        always_env: variables that are read whether the file allows it or not, first wins.
        parse: turns text into the value, or raises `ValueError`.
        default_text: the default as somebody would write it; "" for none.
        help: one sentence for the reference page.
        in_file: whether the properties file may set it.
        own: whether it is a setting of tsl that TorchServe does not have.
        secret: whether the value must not be shown.
    """

    key: str
    env_name: str
    always_env: tuple[str, ...]
    parse: Callable[[str], Any]
    default_text: str
    help: str
    in_file: bool
    own: bool
    secret: bool


def setting(
    key: str,
    parse: Callable[[str], T],
    default: str,
    help: str,  # noqa: A002  (the word that metadata of options uses everywhere)
    *,
    env: bool | str = True,
    always_env: tuple[str, ...] = (),
    in_file: bool = True,
    own: bool = False,
    secret: bool = False,
) -> T:
    """Declare a dataclass field that is a setting.

    Args:
        key: name in the properties file.
        parse: turns text into the value.
        default: the default, as text; it goes through ``parse`` as any other value does.
        help: one sentence for the reference page.
        env: whether ``TS_`` and the upper-cased key may override it; a text is the variable's
            name where it does not follow that rule.
        always_env: variables read in any case.
        in_file: whether the properties file may set it.
        own: whether it is a setting that TorchServe does not have.
        secret: keep the value out of ``repr`` and reports.
    """
    env_name = env if isinstance(env, str) else f"TS_{key.upper()}" if env else ""
    declared = Setting(
        key=key,
        env_name=env_name,
        always_env=always_env,
        parse=parse,
        default_text=default,
        help=help,
        in_file=in_file,
        own=own,
        secret=secret,
    )
    made: Any = dataclasses.field(
        default_factory=lambda: parse(default), metadata={_METADATA_KEY: declared}, repr=not secret
    )
    return made  # type: ignore[no-any-return]  # a Field now, the value once the class is built


def settings_of(config_class: type) -> dict[str, Setting]:
    """The settings of a configuration class by field name: its own, then those of its bases."""
    own = vars(config_class).get("__annotations__", {})
    fields = sorted(dataclasses.fields(config_class), key=lambda field: field.name not in own)
    return {
        field.name: field.metadata[_METADATA_KEY]
        for field in fields
        if _METADATA_KEY in field.metadata
    }


# -- values that need more than a built-in type --------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class InitialModels:
    """What to load at start.

    Attributes:
        all_in_store: everything that the model store holds; ``listed`` is empty then.
        listed: pairs of model name ("" for the archive's own) and location.
    """

    all_in_store: bool = False
    listed: tuple[tuple[str, str], ...] = ()


# -- parsers ---------------------------------------------------------------------------------


def text(value: str) -> str:
    """Any text."""
    return value


def key_text(value: str) -> str:
    """A key that somebody chose for tokens; it may be left out."""
    if value and not _KEY.fullmatch(value):
        msg = f"expected at least {MIN_KEY_CHARS} visible ASCII characters, without blanks"
        raise ValueError(msg)
    return value


def boolean(value: str) -> bool:
    """True for ``true`` in any case; everything else is false, as in TorchServe."""
    return value.lower() == "true"


def whole_number(minimum: int, maximum: int | None = None) -> Callable[[str], int]:
    """Parser of a whole number within limits."""
    limits = f"of at least {minimum}" if maximum is None else f"from {minimum} to {maximum}"

    def parse(value: str) -> int:
        try:
            number = int(value)
        except ValueError:
            number = minimum - 1
        if number < minimum or (maximum is not None and number > maximum):
            msg = f"expected a whole number {limits}"
            raise ValueError(msg)
        return number

    return parse


def optional_whole_number(minimum: int) -> Callable[[str], int | None]:
    """Parser of a whole number that may be left out."""
    parse = whole_number(minimum)
    return lambda value: parse(value) if value else None


def seconds(value: str) -> float:
    """A time span in seconds, more than none."""
    number = _finite(value)
    if number is None or number <= 0:
        msg = "expected a number of seconds above 0"
        raise ValueError(msg)
    return number


def minutes_or_default(value: str) -> float:
    """A time span in minutes; a bad one falls back to the default, as in TorchServe."""
    number = _finite(value)
    if number is None or number <= 0:
        msg = "expected a number of minutes above 0"
        raise UnusableValue(msg)
    return number


def _finite(value: str) -> float | None:
    try:
        number = float(value)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def path(value: str) -> Path:
    """A path."""
    return Path(value)


def optional_path(value: str) -> Path | None:
    """A path that may be left out."""
    return Path(value) if value else None


def temporary_dir(value: str) -> Path:
    """A folder; the system's temporary one if left out."""
    return Path(value or tempfile.gettempdir())


def choice(*allowed: str, tolerant: bool = False, relaxed: bool = False) -> Callable[[str], str]:
    """Parser of one word out of a few.

    Args:
        allowed: the words.
        tolerant: an unknown word means the default and a warning.
        relaxed: case and blanks do not matter.
    """

    def parse(value: str) -> str:
        if relaxed:
            value = "".join(value.split()).lower()
        if value in allowed:
            return value
        msg = f"expected one of {', '.join(allowed)}"
        raise UnusableValue(msg) if tolerant else ValueError(msg)

    return parse


def optional_choice(*allowed: str) -> Callable[[str], str]:
    """Parser of one word out of a few that may be left out."""
    parse = choice(*allowed)
    return lambda value: parse(value) if value else ""


def optional_route(value: str) -> str:
    """A path of the HTTP API that may be left out."""
    if value and (not value.startswith("/") or any(mark in value for mark in "{}?# ")):
        msg = "expected a path that begins with a slash, without ? and braces"
        raise ValueError(msg)
    return value


def optional_pattern(value: str) -> re.Pattern[str] | None:
    """A regular expression that may be left out."""
    return _compile(value) if value else None


def pattern_list(value: str) -> str:
    """Regular expressions separated by commas; checked here, split by who matches them."""
    for part in value.split(","):
        _compile(part.strip())
    return value


def _compile(value: str) -> re.Pattern[str]:
    try:
        return re.compile(value)
    except re.error as error:
        msg = f"{value!r} is not a regular expression: {error}"
        raise ValueError(msg) from error


def address(http_port: int, https_port: int) -> Callable[[str], Address]:
    """Parser of a listen address whose port may be left out."""
    return lambda value: Address.parse(value, http_port=http_port, https_port=https_port)


def initial_models(value: str) -> InitialModels:
    """``all``, or a comma-separated list of ``location`` and ``name=location``."""
    if value.lower() == "all":
        return InitialModels(all_in_store=True)
    return InitialModels(
        listed=tuple(pair for pair in map(_name_and_location, value.split(",")) if pair[1])
    )


def _name_and_location(part: str) -> tuple[str, str]:
    name, equals, location = part.partition("=")
    # A URL may hold an equals sign in its query; a model's name has neither slash nor colon.
    if not equals or "/" in name or ":" in name:
        return "", part.strip()
    return name.strip(), location.strip()


def model_snapshot(value: str) -> Snapshot | None:
    """The JSON of ``model_snapshot``, which may be left out."""
    return parse_snapshot(_json_object(value)) if value else None


def model_options(value: str) -> Mapping[str, Mapping[str, Mapping[str, Any]]]:
    """The JSON of ``models``: model name → version → options."""
    if not value:
        return {}
    by_name = _json_object(value)
    for name, by_version in by_name.items():
        if not isinstance(by_version, dict):
            msg = f"{name!r} must hold an object that maps versions to options"
            raise ValueError(msg)
        for version, options in by_version.items():
            if not isinstance(options, dict):
                msg = f"version {version!r} of {name!r} must hold an object with options"
                raise ValueError(msg)
            for key in MODEL_NUMBERS & options.keys():
                options[key] = _number(f"{key} of {name!r} version {version!r}", options[key])
    return by_name


def _number(what: str, value: Any) -> int:
    """A whole number; TorchServe takes one in quotes, too."""
    if isinstance(value, str) and value.strip().isdecimal():
        return int(value)
    if isinstance(value, int) and not isinstance(value, bool):
        return value
    msg = f"{what} must be a whole number"
    raise ValueError(msg)


def _json_object(value: str) -> dict[str, Any]:
    try:
        parsed = json.loads(value)
    except json.JSONDecodeError as error:
        msg = f"this is not JSON: {error}"
        raise ValueError(msg) from error
    if not isinstance(parsed, dict):
        msg = "expected a JSON object"
        raise ValueError(msg)
    return parsed
