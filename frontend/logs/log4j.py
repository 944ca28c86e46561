"""Read a log4j2 file in XML: levels, files, sizes, console and JSON; the rest is named, not used.

TorchServe's logs are set up by such files (``--log-config``). They are the operator's own, from
the local disk; nothing is fetched, and documents with a type declaration are refused, so that no
entity can be expanded.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final
from xml.etree import ElementTree as ET

from tsl.protocol.errors import ConfigError

from .fields import ACCESS, FILES, LEVELS, MODEL, MODEL_METRICS, SERVER, TS_METRICS

MAX_BYTES: Final = 1024 * 1024
_LOGS: Final = {
    "ACCESS_LOG": ACCESS,
    "MODEL_LOG": MODEL,
    "TS_METRICS": TS_METRICS,
    "MODEL_METRICS": MODEL_METRICS,
    "org.pytorch.serve": SERVER,
}
"""Loggers of TorchServe, and which of our logs they are."""
_SERVERS_FILE_APPENDERS: Final = (
    "file",
    "rollingfile",
    "randomaccessfile",
    "rollingrandomaccessfile",
)
_KNOWN_PATTERNS: Final = frozenset(
    {
        "%d{ISO8601} - %m%n",
        "%d{ISO8601} [%-5p] %t %c - %m%n",
    }
)
_UNITS: Final = {"": 1, "b": 1, "kb": 1024, "mb": 1024**2, "gb": 1024**3}
_SIZE: Final = re.compile(r"(\d+(?:\.\d+)?)\s*([kmg]?b?)", re.IGNORECASE)
_VARIABLE: Final = re.compile(r"\$\{(?:(\w+):)?([^:}]+)(?::-([^}]*))?\}")


@dataclass(slots=True)
class Log4jSettings:
    """What a file says, as values of our settings.

    Attributes:
        values: by property name; only what the file has an opinion on.
        ignored: what of it has no effect, a few words each.
    """

    values: dict[str, str | int] = field(default_factory=dict)
    ignored: list[str] = field(default_factory=list)


@dataclass(frozen=True, slots=True)
class _Appender:
    name: str
    file: str = ""
    is_console: bool = False
    is_json: bool = False
    max_bytes: int | None = None
    kept: int | None = None


@dataclass(frozen=True, slots=True)
class _Logger:
    level: str
    appenders: tuple[str, ...]
    is_additive: bool


def read_log4j(path: Path, environ: Mapping[str, str]) -> Log4jSettings:
    """Read a file.

    Args:
        path: the file.
        environ: for ``${env:NAME}``.

    Raises:
        ConfigError: it cannot be read, or is no XML.
    """
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise ConfigError(
            f"The log configuration {path} cannot be read: {error.strerror}."
        ) from error
    if len(data) > MAX_BYTES:
        raise ConfigError(f"The log configuration {path} is larger than {MAX_BYTES} bytes.")
    if b"<!DOCTYPE" in data or b"<!ENTITY" in data:
        raise ConfigError(f"The log configuration {path} has a document type; take it out.")
    try:
        root = ET.fromstring(data)  # noqa: S314 - a local file, and without entities, see above
    except ET.ParseError as error:
        raise ConfigError(f"The log configuration {path} is no XML: {error}.") from error
    return _Reader(root, environ).result()


class _Reader:
    """Reads one document."""

    def __init__(self, root: ET.Element, environ: Mapping[str, str]) -> None:
        self._root = root
        self._environ = environ
        self._properties = {
            each.get("name", ""): (each.text or each.get("value") or "").strip()
            for each in _find(root, "property")
        }
        self._found = Log4jSettings()

    def result(self) -> Log4jSettings:
        appenders = {each.name: each for each in self._appenders()}
        loggers = dict(self._loggers())
        root = loggers.pop("", _Logger("", (), is_additive=True))
        used = [
            appenders[name]
            for each in (root, *loggers.values())
            for name in each.appenders
            if name in appenders
        ]
        levels: list[str] = []
        files: list[str] = []
        on_console: list[str] = []
        for name, log in _LOGS.items():
            logger = loggers.get(name, _Logger("", (), is_additive=True))
            level = logger.level or root.level
            if level:
                levels.append(f"{log}={level}")
            own = [appenders[each] for each in logger.appenders if each in appenders]
            files += [f"{log}={each.file}" for each in own if each.file][:1]
            reached = [
                *own,
                *(appenders[a] for a in root.appenders if logger.is_additive and a in appenders),
            ]
            if any(each.is_console for each in reached):
                on_console.append(log)
        self._keep("log_levels", ",".join(levels))
        self._keep("log_files", ",".join(files))
        if appenders:
            console = "true" if len(on_console) == len(FILES) else ",".join(on_console) or "false"
            self._keep("log_console", console)
        if any(each.is_json for each in used):
            self._keep("log_format", "json")
        self._keep_largest("log_max_size", [each.max_bytes for each in used])
        self._keep_largest("log_kept_files", [each.kept for each in used])
        others = sorted(name for name in loggers if name not in _LOGS)
        if others:
            self._found.ignored.append(f"the loggers {', '.join(others)}")
        return self._found

    def _keep(self, key: str, value: str | int) -> None:
        if value != "":
            self._found.values[key] = value

    def _keep_largest(self, key: str, found: list[int | None]) -> None:
        numbers = [number for number in found if number is not None]
        if numbers:
            self._keep(key, max(numbers))

    def _appenders(self) -> Iterator[_Appender]:
        for section in _find(self._root, "appenders"):
            for element in section:
                kind, name = _tag(element), element.get("name", "")
                if kind == "console":
                    yield _Appender(name, is_console=True, is_json=self._is_json(element, name))
                elif kind in _SERVERS_FILE_APPENDERS:
                    yield self._file_appender(element, name)
                else:
                    self._found.ignored.append(f"the appender {name or kind} ({kind})")

    def _file_appender(self, element: ET.Element, name: str) -> _Appender:
        file = self._filled_in(element.get("fileName", ""))
        if "," in file:
            self._found.ignored.append(f"the file name {file}, which has a comma")
            file = ""
        size = next(
            (each.get("size", "") for each in _find(element, "sizebasedtriggeringpolicy")), ""
        )
        kept = next((each.get("max", "") for each in _find(element, "defaultrolloverstrategy")), "")
        for policy in (
            "timebasedtriggeringpolicy",
            "crontriggeringpolicy",
            "onstartuptriggeringpolicy",
        ):
            if list(_find(element, policy)) and "rolling by time" not in self._found.ignored:
                self._found.ignored.append("rolling by time")
        return _Appender(
            name,
            file=file and str(Path(file).absolute()),
            is_json=self._is_json(element, name),
            max_bytes=self._size(size),
            kept=int(kept) if kept.isdigit() else None,
        )

    def _is_json(self, element: ET.Element, name: str) -> bool:
        for layout in element:
            kind = _tag(layout)
            if kind in ("jsonlayout", "jsontemplatelayout"):
                return True
            if kind == "patternlayout":
                pattern = layout.get("pattern") or next(
                    (e.text or "" for e in _find(layout, "pattern")), ""
                )
                if pattern.strip() not in _KNOWN_PATTERNS:
                    self._found.ignored.append(f"the pattern of {name}")
        return False

    def _size(self, written: str) -> int | None:
        if not written:
            return None
        match = _SIZE.fullmatch(self._filled_in(written).strip())
        if match is None:
            self._found.ignored.append(f"the size {written!r}")
            return None
        unit = match[2].lower()
        return int(float(match[1]) * _UNITS[unit if unit.endswith("b") or not unit else f"{unit}b"])

    def _loggers(self) -> Iterator[tuple[str, _Logger]]:
        for section in _find(self._root, "loggers"):
            for element in section:
                kind = _tag(element)
                if kind not in ("logger", "asynclogger", "root", "asyncroot"):
                    continue
                name = "" if kind.endswith("root") else element.get("name", "")
                level = self._filled_in(element.get("level", "")).lower()
                if level and level not in LEVELS:
                    self._found.ignored.append(f"the level {level!r}")
                    level = ""
                appenders = tuple(each.get("ref", "") for each in _find(element, "appenderref"))
                additive = element.get("additivity", "true").lower() != "false"
                yield name, _Logger(level, appenders, is_additive=additive)

    def _filled_in(self, text: str) -> str:
        """Put in what ``${env:NAME:-default}`` and ``${property}`` stand for."""

        def value(match: re.Match[str]) -> str:
            kind, name, default = match[1] or "", match[2], match[3] or ""
            if kind == "env":
                return self._environ.get(name) or default
            return self._properties.get(name, default) if not kind else default

        for _ in range(3):  # a property may name another one
            text = _VARIABLE.sub(value, text)
        return text


def _find(element: ET.Element, tag: str) -> Iterator[ET.Element]:
    return (each for each in element.iter() if _tag(each) == tag)


def _tag(element: ET.Element) -> str:
    """Lower case, without the namespace; log4j does not look at either."""
    return str(element.tag).rpartition("}")[2].lower()
