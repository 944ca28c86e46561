"""Triton's log and trace settings: what can be changed while the server runs, and what cannot.

The three switches of the log and its verbosity decide which records of the server's own log
(``ts_log.log`` and the console) are written; logs of models, access and metrics are others. All other
settings are answered as they are; a change of one is refused, and said to be impossible.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import Any, Final

from tsl.protocol.errors import InvalidRequest, Unsupported

from .registry import ModelRegistry

logger = logging.getLogger(__name__)

SERVER_LOGGER: Final = "tsl"
WORKER_LOGGER: Final = "tsl.worker"
_SWITCHES: Final = {
    "log_info": logging.INFO,
    "log_warning": logging.WARNING,
    "log_error": logging.ERROR,
}
_VERBOSE: Final = "log_verbose_level"
_MAX_VERBOSE: Final = 2**32 - 1
_FIXED_LOG: Final = {"log_file": "", "log_format": "default"}
_OFF: Final = logging.CRITICAL + 10

TRACE: Final[Mapping[str, tuple[str, ...]]] = {
    "trace_level": ("OFF",),
    "trace_rate": ("1000",),
    "trace_count": ("-1",),
    "log_frequency": ("0",),
    "trace_file": ("",),
    "trace_mode": ("triton",),
}
"""What Triton answers while it does not trace; this server never does."""


class _Levels(logging.Filter):
    """Lets records of some levels through; those of other loggers than the server's always."""

    def __init__(self) -> None:
        super().__init__()
        self.switches = dict.fromkeys(_SWITCHES, True)

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether a record is written."""
        name = record.name
        if not name.startswith(SERVER_LOGGER) or name.startswith(WORKER_LOGGER):
            return True
        if record.levelno >= logging.ERROR:
            return self.switches["log_error"]
        if record.levelno >= logging.WARNING:
            return self.switches["log_warning"]
        return record.levelno < logging.INFO or self.switches["log_info"]


class LogControl:
    """The server's own log.

    Args:
        root: has the handlers of all logs.
        server: the logger of the server.
    """

    def __init__(
        self, root: logging.Logger | None = None, server: logging.Logger | None = None
    ) -> None:
        self._root = root or logging.getLogger()
        self._server = server or logging.getLogger(SERVER_LOGGER)
        self._levels: _Levels | None = None
        self._verbose = 0

    def settings(self) -> dict[str, Any]:
        """All of them, by Triton's names."""
        level = self._server.getEffectiveLevel()
        switches = (
            {name: level <= number for name, number in _SWITCHES.items()}
            if self._levels is None
            else self._levels.switches
        )
        verbose = self._verbose or int(level <= logging.DEBUG)
        return {**_FIXED_LOG, **switches, _VERBOSE: verbose}

    def update(self, wanted: Mapping[str, Any]) -> dict[str, Any]:
        """Change some settings; all of them, or none.

        Returns:
            All settings, as they are now.

        Raises:
            InvalidRequest: there is no such setting, or its value is of a wrong type.
            Unsupported: the setting cannot be changed.
        """
        settings = self.settings()
        for name, value in wanted.items():
            _check_log(name, value, settings)
        if wanted:
            self._apply({**settings, **wanted})
        return self.settings()

    def _apply(self, settings: Mapping[str, Any]) -> None:
        if self._levels is None:
            self._levels = _Levels()
        for handler in self._root.handlers:
            handler.addFilter(self._levels)  # of no effect where it is already
        self._levels.switches = {name: settings[name] for name in _SWITCHES}
        self._verbose = settings[_VERBOSE]
        levels = [number for name, number in _SWITCHES.items() if settings[name]]
        level = logging.DEBUG if self._verbose else min(levels, default=_OFF)
        self._server.setLevel(level)
        logger.warning("The log settings are now %s", self.settings())


def _check_log(name: str, value: Any, settings: Mapping[str, Any]) -> None:
    if name in _SWITCHES:
        if type(value) is not bool:
            raise InvalidRequest(f"The log setting {name} must be true or false.")
    elif name == _VERBOSE:
        if type(value) is not int or not 0 <= value <= _MAX_VERBOSE:
            raise InvalidRequest(f"The log setting {name} must be a number from 0 up.")
    elif name not in settings:
        raise InvalidRequest(
            f"There is no log setting {name!r}.", hint=f"There are {', '.join(settings)}."
        )
    elif value != settings[name]:
        raise Unsupported(
            f"The log setting {name} cannot be changed while the server runs.",
            hint="Files and formats of logs are settings of its configuration.",
        )


class TraceControl:
    """Traces in Triton's form, which there are none of.

    Args:
        registry: what is served.
    """

    def __init__(self, registry: ModelRegistry) -> None:
        self._registry = registry

    def settings(self, model_name: str = "") -> Mapping[str, tuple[str, ...]]:
        """The settings of the server or, which are the same, of a model.

        Raises:
            ModelNotFound: there is no such model.
        """
        if model_name:
            self._registry.get(model_name)
        return TRACE

    def update(
        self, wanted: Mapping[str, Any], model_name: str = ""
    ) -> Mapping[str, tuple[str, ...]]:
        """Take settings that are what they are already.

        Args:
            wanted: value, list of values, or None for the default, by name.
            model_name: "" for the server.

        Raises:
            ModelNotFound: there is no such model.
            InvalidRequest: there is no such setting.
            Unsupported: it would be a change.
        """
        settings = self.settings(model_name)
        for name, value in wanted.items():
            if name not in settings:
                raise InvalidRequest(
                    f"There is no trace setting {name!r}.",
                    hint=f"There are {', '.join(settings)}.",
                )
            values = value if isinstance(value, list | tuple) else [value]
            if values and values != [None] and tuple(map(str, values)) != settings[name]:
                raise Unsupported(
                    f"The trace setting {name} cannot be changed: this server writes no traces of "
                    "Triton's.",
                    hint="The request header x-tsl-timing asks where the time of a request went.",
                )
        return settings
