"""Start the server in a process of its own and wait until it serves, or has failed."""

from __future__ import annotations

import os
import select
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import IO, Final

import click

from tsl.frontend.config import ServerConfig

from .exit_codes import ExitCode
from .reporting import decode_moment
from .server_process import server_command
from .summary import Example, listening_lines, settled_lines

CONSOLE_LOG: Final = "ts_console.log"
REPORT_FD_OPTION: Final = "--report-fd"
NO_CONSOLE_LOG_OPTION: Final = "--no-console-log"

_TICK_S: Final = 0.5
_LAST_LINES: Final = 20
_LAST_BYTES: Final = 16384
_CLEAR_LINE: Final = "\r\x1b[K"


class Launch:
    """One start in the background.

    Its output goes where ours goes, because launch scripts read the server's log from that pipe
    long after this process has ended; on a terminal it goes to a file, and we print the summary.

    Args:
        config: the configuration, already validated.
        words: the command line of the server behind ``tsl``.
        example: what the requests to try need.
        is_terminal: whether our output goes to a terminal.
    """

    def __init__(
        self,
        config: ServerConfig,
        words: Sequence[str],
        example: Example,
        *,
        is_terminal: bool,
    ) -> None:
        self._config = config
        self._words = words
        self._example = example
        self._is_terminal = is_terminal

    def run(self) -> int:
        """Start and wait.

        Returns:
            The exit code: 0 when the server serves, else the server's own.
        """
        if not self._is_terminal:
            return self._run(None)
        with open_console_log(self._config) as console:
            return self._run(console)

    def _run(self, console: IO[bytes] | None) -> int:
        began_at = console.tell() if console else 0
        reader, writer = os.pipe()
        try:
            process = self._spawn(writer, console)
        finally:
            os.close(writer)
        try:
            has_settled = self._follow(reader)
        except KeyboardInterrupt:
            click.echo("\nThe server goes on starting in the background; `tsl stop` ends it.")
            return ExitCode.INTERRUPTED
        finally:
            os.close(reader)
        if has_settled:
            return ExitCode.OK
        ended_with = process.wait()
        # A shell would report a death by signal as 128 + its number.
        code = ended_with if ended_with >= 0 else 128 - ended_with
        if console:
            _show_end(Path(console.name), began_at)
        click.echo(f"The server ended while starting, with code {code}.", err=True)
        return code

    def _spawn(self, writer: int, console: IO[bytes] | None) -> subprocess.Popen[bytes]:
        command = server_command(self._words)
        command.append(f"{REPORT_FD_OPTION}={writer}")
        if console:
            # That file is not rotated and is only read when the start fails; the log has its own.
            command.append(NO_CONSOLE_LOG_OPTION)
        return subprocess.Popen(  # noqa: S603  (our own command line)
            command,
            stdin=subprocess.DEVNULL,
            stdout=console,
            stderr=console,
            pass_fds=(writer,),
            start_new_session=True,
        )

    def _follow(self, reader: int) -> bool:
        """Show what the server reports; whether it got to the end."""
        for line in lines_of(reader, self._tick):
            moment, report = decode_moment(line)
            if moment == "settled":
                self._show(settled_lines(report, self._example))
                return True
            self._show(listening_lines(report))
        return False

    def _show(self, lines: Sequence[str]) -> None:
        # Into a pipe the server itself has printed them.
        if self._is_terminal:
            click.echo(_CLEAR_LINE + "\n".join(lines))

    def _tick(self, elapsed_s: float) -> None:
        if self._is_terminal:
            click.echo(f"{_CLEAR_LINE}{elapsed_s:.0f} s ...", nl=False)


def lines_of(reader: int, on_tick: Callable[[float], None]) -> Iterator[bytes]:
    """Lines of a pipe until its end.

    Args:
        reader: the pipe's end for reading.
        on_tick: called with the seconds since the beginning whenever nothing came for a moment.
    """
    began = time.monotonic()
    pending = b""
    while True:
        readable, _, _ = select.select([reader], [], [], _TICK_S)
        if not readable:
            on_tick(time.monotonic() - began)
            continue
        received = os.read(reader, 65536)
        if not received:
            return
        *lines, pending = (pending + received).split(b"\n")
        yield from lines


def open_console_log(config: ServerConfig) -> IO[bytes]:
    """The file for the server's output; in the working folder when the log folder is read-only."""
    try:
        config.log_location.mkdir(parents=True, exist_ok=True)
        return (config.log_location / CONSOLE_LOG).open("ab")
    except OSError:
        # mkstemp, because everybody may write to that folder and could put a link in our way.
        descriptor, name = tempfile.mkstemp(CONSOLE_LOG, "tsl_", config.work_dir)
        os.close(descriptor)
        return Path(name).open("ab")


def _show_end(log: Path, began_at: int) -> None:
    with log.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(began_at, size - _LAST_BYTES))
        lines = file.read().decode("utf-8", errors="replace").splitlines()
    click.echo(_CLEAR_LINE + "\n".join(lines[-_LAST_LINES:]), err=True)
