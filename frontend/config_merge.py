"""Which value of a setting counts: default < file < command line < environment.

Knows how the sources work, not which settings there are.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import javaproperties

from tsl.protocol.errors import ConfigError

from .config_fields import Setting, UnusableValue, boolean

FROM_DEFAULT: Final = "default"
FROM_FILE: Final = "file"
FROM_COMMAND_LINE: Final = "command line"
FROM_ENVIRONMENT: Final = "environment"

# Keys that steer the Java server and have no counterpart here.
JAVA_ONLY_KEYS: Final = frozenset(
    {
        "async_logging",
        "cpp_log_config",
        "io_ratio",
        "netty_client_threads",
        "number_of_netty_threads",
        "plugins_path",
        "prefer_direct_buffer",
        "python",
        "use_native_io",
        "vmargs",
    }
)
# TorchServe writes these into its snapshots for itself.
_INTERNAL_KEYS: Final = frozenset({"version", "tsConfigFile"})

_OIP_KEY: Final = "ts_open_inference_protocol"
_OIP_VARIABLE: Final = "TS_OPEN_INFERENCE_PROTOCOL"
_VARIABLE: Final = re.compile(r"\$\$(\w+)\$\$")
_LONGEST_SHOWN_VALUE: Final = 80


@dataclass(frozen=True, slots=True, kw_only=True)
class Merged:
    """What `merge` found.

    Attributes:
        values: value by field name, for fields that are not at their default.
        sources: where each property's value comes from, one of the ``FROM_*`` constants.
        texts: the values that are not at their default, as somebody would write them.
        ignored: properties of the file that only the Java server has a use for.
        warnings: sentences about properties that are not used as written.
    """

    values: Mapping[str, Any]
    sources: Mapping[str, str]
    texts: Mapping[str, str]
    ignored: tuple[str, ...]
    warnings: tuple[str, ...]


def merge(
    settings: Mapping[str, Setting],
    file_text: str | None,
    environ: Mapping[str, str],
    overrides: Mapping[str, Any],
) -> Merged:
    """Find the value of every setting.

    Args:
        settings: the settings by field name.
        file_text: content of the properties file, or None.
        environ: environment variables.
        overrides: values of the command line by property name.

    Raises:
        ConfigError: with every problem that was found.
    """
    return _Merge(settings, file_text or "", environ, overrides).result()


@dataclass(frozen=True, slots=True)
class _Found:
    """A value before parsing: from where, and what it is called there."""

    value: Any
    source: str
    spelled: str


class _Merge:
    """One merge; collects problems instead of stopping at the first."""

    def __init__(
        self,
        settings: Mapping[str, Setting],
        file_text: str,
        environ: Mapping[str, str],
        overrides: Mapping[str, Any],
    ) -> None:
        self._settings = settings
        self._environ = environ
        self._overrides = overrides
        self._problems: list[str] = []
        self._warnings: list[str] = []
        self._file = self._read(file_text)

    def result(self) -> Merged:
        values: dict[str, Any] = {}
        sources: dict[str, str] = {}
        texts: dict[str, str] = {}
        for name, declared in self._settings.items():
            found = self._find(declared)
            sources[declared.key] = found.source if found else FROM_DEFAULT
            if found:
                values[name] = self._value(declared, found)
                texts[declared.key] = _written(found.value)
        self._check_names()
        if self._problems:
            raise ConfigError(*self._problems)
        return Merged(
            values=values,
            sources=sources,
            texts={key: text for key, text in texts.items() if text},
            ignored=tuple(sorted(JAVA_ONLY_KEYS & self._file.keys())),
            warnings=tuple(self._warnings),
        )

    # -- reading

    def _read(self, file_text: str) -> dict[str, str]:
        try:
            found = javaproperties.loads(file_text)
        except javaproperties.InvalidUEscapeError as error:
            self._problems.append(f"The configuration file has a wrong escape: {error}.")
            return {}
        return {key: self._substitute(key, value).strip() for key, value in found.items()}

    def _substitute(self, key: str, value: str) -> str:
        def replace(match: re.Match[str]) -> str:
            name = match[1]
            if name not in self._environ:
                self._problems.append(
                    f"{key}: Invalid Environment Variable {name}: it is not set. Set it, or take "
                    f"$${name}$$ out of the configuration file."
                )
            return self._environ.get(name, "")

        return _VARIABLE.sub(replace, value)

    # -- choosing

    def _find(self, declared: Setting) -> _Found | None:
        """The source that counts for a setting; None if there is only its default."""
        for variable in declared.always_env:
            if self._environ.get(variable):
                return _Found(self._environ[variable], FROM_ENVIRONMENT, variable)
        if declared.key == _OIP_KEY and self._environ.get(_OIP_VARIABLE):
            is_on = self._environ[_OIP_VARIABLE] == "oip"
            return _Found(is_on, FROM_ENVIRONMENT, _OIP_VARIABLE)
        if self._may_come_from_environment(declared):
            value = self._environ[declared.env_name]
            return _Found(value, FROM_ENVIRONMENT, declared.env_name)
        if declared.key in self._overrides:
            return _Found(self._overrides[declared.key], FROM_COMMAND_LINE, declared.key)
        if declared.in_file and declared.key in self._file:
            return _Found(self._file[declared.key], FROM_FILE, declared.key)
        return None

    def _may_come_from_environment(self, declared: Setting) -> bool:
        if declared.env_name not in self._environ:
            return False
        if declared.key == "allowed_urls" and not self._file_says("use_env_allowed_urls"):
            return False
        return self._file_says("enable_envvars_config")

    def _file_says(self, key: str) -> bool:
        return boolean(self._file.get(key, ""))

    # -- checking

    def _value(self, declared: Setting, found: _Found) -> Any:
        value = found.value
        if isinstance(value, str):
            value = self._parse(declared, found, value.strip())
        return value

    def _parse(self, declared: Setting, found: _Found, written: str) -> Any:
        # An empty value means the default: TS_SERVICE_ENVELOPE= is how a container takes back
        # what its configuration file says.
        if not written:
            return declared.parse(declared.default_text)
        shown = f"{_shown(declared, found.spelled, written)} ({found.source})"
        if declared.parse is boolean and written.lower() not in ("true", "false"):
            self._warnings.append(f"{shown}: only true switches it on; this counts as false.")
        try:
            return declared.parse(written)
        except UnusableValue as error:
            self._warnings.append(f"{shown}: {error}; {declared.default_text} is used.")
            return declared.parse(declared.default_text)
        except ValueError as error:
            self._problems.append(f"{shown}: {error}.")
            return None

    def _check_names(self) -> None:
        keys = {declared.key for declared in self._settings.values()}
        in_file = {declared.key for declared in self._settings.values() if declared.in_file}
        unknown = sorted(self._file.keys() - in_file - JAVA_ONLY_KEYS - _INTERNAL_KEYS)
        if unknown:
            self._warnings.append(f"Unknown properties are not used: {', '.join(unknown)}.")
        self._problems.extend(
            f"{key}: there is no such setting." for key in sorted(self._overrides.keys() - keys)
        )


def _written(value: Any) -> str:
    """A value as a properties file has it."""
    return str(value).lower() if isinstance(value, bool) else str(value).strip()


def _shown(declared: Setting, spelled: str, value: str) -> str:
    if declared.secret:
        return spelled
    if len(value) > _LONGEST_SHOWN_VALUE:
        return f"{spelled}={value[:_LONGEST_SHOWN_VALUE]}…"
    return f"{spelled}={value}"
