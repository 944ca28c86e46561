"""How each log is written: level, file, format and size."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from .fields import (
    FILES,
    LOGGERS,
    MODEL_METRICS,
    TS_METRICS,
    parse_console,
    parse_files,
    parse_levels,
)
from .line_log import LineLog, LineStyle, LineWriter
from .log_file import LogFile

if TYPE_CHECKING:
    from ..config import ServerConfig


@dataclass(frozen=True, slots=True, kw_only=True)
class LogSettings:
    """How the logs of one server are written.

    Attributes:
        levels: by log, numbers of `logging`.
        files: by log.
        on_console: the logs that also go to stdout.
        is_json: one JSON object per line instead of TorchServe's formats.
        max_bytes: a file is rotated before it grows beyond this; 0 for never.
        kept_files: how many rotated files are kept.
        with_ids: whether lines of the access log end in the request's id.
    """

    levels: Mapping[str, int]
    files: Mapping[str, Path]
    on_console: frozenset[str]
    is_json: bool = False
    max_bytes: int = 0
    kept_files: int = 0
    with_ids: bool = False

    @classmethod
    def of(cls, config: ServerConfig) -> LogSettings:
        """The settings that a configuration asks for."""
        asked = parse_files(config.log_files)
        folders = {TS_METRICS: config.metrics_location, MODEL_METRICS: config.metrics_location}
        return cls(
            levels={**dict.fromkeys(FILES, logging.INFO), **parse_levels(config.log_levels)},
            files={
                log: folders.get(log, config.log_location) / asked.get(log, name)
                for log, name in FILES.items()
            },
            on_console=parse_console(config.log_console),
            is_json=config.log_format == "json",
            max_bytes=config.log_max_size_bytes,
            kept_files=config.log_kept_files,
            with_ids=config.log_request_ids,
        )

    def is_on(self, log: str) -> bool:
        """Whether a log that has only lines of level INFO is written at all."""
        return self.levels[log] <= logging.INFO

    def open_file(self, log: str) -> LogFile:
        """Open the file of a log.

        Raises:
            OSError: that is not possible.
        """
        return LogFile(self.files[log], self.max_bytes, self.kept_files)

    def open_lines(self, log: str, writer: LineWriter) -> LineLog | None:
        """Open a log of the front end; None when it is off."""
        if not self.is_on(log):
            return None
        if self.is_json:
            before = b'{"time":"{time}","log":"%b",' % log.encode()
            style = LineStyle(before, is_iso=True, dropped=b'"message":"%d lines were dropped"}')
            console = style
        else:
            after = b",timestamp:{seconds}\n" if log == TS_METRICS else b"\n"
            style = LineStyle(after=after)
            console = LineStyle(b"{time} [INFO ] main %b - " % LOGGERS[log].encode(), after)
        return writer.open(
            lambda: self.open_file(log), style, console if log in self.on_console else None
        )
