"""``tsl logs``: the end of a log of the server, and what comes after it."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO, Final

import click

from .connected import CommandFailed, reports_failures
from .exit_codes import ExitCode
from .running import pid_file_of

FILES: Final = {
    "server": "ts_log.log",
    "model": "model_log.log",
    "access": "access_log.log",
    "metrics": "ts_metrics.log",
    "model-metrics": "model_metrics.log",
}
_POLL_S: Final = 0.25
_BLOCK_BYTES: Final = 65536


@click.command("logs")
@click.argument("log", type=click.Choice(list(FILES)), default="server")
@click.option("-f", "--follow", is_flag=True, help="Go on with what is written from now on.")
@click.option(
    "-n", "--lines", type=click.IntRange(min=0), default=20, show_default=True, help="Lines."
)
@reports_failures
def command(log: str, follow: bool, lines: int) -> int:
    """Print the end of a log: server (default), model, access, metrics or model-metrics.

    Without a running server it is the log in the current folder, or where LOG_LOCATION says.
    """
    path = log_path(log)
    try:
        end = show_end(path, lines, _write)
        if follow:
            for data in followed(path, end, time.sleep):
                _write(data)
    except OSError as error:
        raise CommandFailed(ExitCode.FAILED, f"{path} cannot be read: {error.strerror}.") from error
    except KeyboardInterrupt:
        pass  # this is how people leave it
    return ExitCode.OK


def log_path(log: str) -> Path:
    """The file of a log."""
    is_metrics = "metrics" in log
    record = pid_file_of(os.environ).read()
    told = (record.metrics_dir if is_metrics else record.log_dir) if record else ""
    variable = "METRICS_LOCATION" if is_metrics else "LOG_LOCATION"
    return Path(told or os.environ.get(variable) or "logs") / FILES[log]


def show_end(path: Path, lines: int, write: Callable[[bytes], None]) -> int:
    """Write the last lines of a file.

    Args:
        path: the file.
        lines: how many.
        write: takes them.

    Returns:
        The size of the file at that moment.

    Raises:
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        start = _start_of_last(file, size, lines)
        file.seek(start)
        while start < size:
            data = file.read(min(_BLOCK_BYTES, size - start))
            if not data:
                break  # cut off meanwhile
            start += len(data)
            write(data)
    return size


def _start_of_last(file: BinaryIO, size: int, lines: int) -> int:
    """Where the last lines begin; reads backwards, because logs may be large."""
    if not lines:
        return size
    position = size
    missing = lines
    while position:
        length = min(_BLOCK_BYTES, position)
        position -= length
        file.seek(position)
        block = file.read(length)
        # The line end at the very end ends the last line; it does not begin one more.
        at = len(block) - 1 if position + length == size else len(block)
        while (at := block.rfind(b"\n", 0, at)) >= 0:
            missing -= 1
            if not missing:
                return position + at + 1
    return 0


def followed(path: Path, position: int, sleep: Callable[[float], None]) -> Iterator[bytes]:
    """What is written to a file, for ever; also when it is rotated.

    Args:
        path: the file.
        position: how much of it is known.
        sleep: waits for so many seconds.
    """
    file: BinaryIO = path.open("rb")
    try:
        file.seek(position)
        while True:
            data = file.read(_BLOCK_BYTES)
            if data:
                yield data
                continue
            fresh = _successor(path, file)
            if fresh is None:
                sleep(_POLL_S)
                continue
            # What was written to the old one until it was renamed comes first.
            while data := file.read(_BLOCK_BYTES):
                yield data
            file.close()
            file = fresh
    finally:
        file.close()


def _successor(path: Path, file: BinaryIO) -> BinaryIO | None:
    """The file that has taken this one's name, or this one from its start after it was cut off."""
    try:
        now = path.stat()
    except FileNotFoundError:
        return None  # renamed, and the next one is not there yet
    known = os.fstat(file.fileno())
    if (now.st_dev, now.st_ino) == (known.st_dev, known.st_ino) and now.st_size >= file.tell():
        return None
    try:
        return path.open("rb")
    except FileNotFoundError:
        return None


def _write(data: bytes) -> None:
    sys.stdout.buffer.write(data)
    sys.stdout.buffer.flush()
