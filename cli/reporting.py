"""Where the two moments of a start are told: console, pid file, and the pipe to a launcher."""

from __future__ import annotations

import dataclasses
import json
import logging
import os
import threading
from collections.abc import Sequence
from typing import Final, Literal, TypeAlias

import click

from tsl.frontend.report import ModelReport, Reporter, StartReport

from .logs import WRITER_THREAD
from .pidfile import AlreadyRunning, PidFile, ServerRecord
from .summary import Example, listening_lines, settled_lines

logger = logging.getLogger(__name__)

PRINT_S: Final = 0.5
"""How long the event loop waits for the console at the two moments of a start."""

Moment: TypeAlias = Literal["listening", "settled"]


class FanOut:
    """Tells several reporters, in order."""

    def __init__(self, reporters: Sequence[Reporter]) -> None:
        self._reporters: Final = tuple(reporters)

    def listening(self, report: StartReport) -> None:
        """The listeners are open."""
        for reporter in self._reporters:
            reporter.listening(report)

    def settled(self, report: StartReport) -> None:
        """Every model is ready or has failed."""
        for reporter in self._reporters:
            reporter.settled(report)


class ConsoleReporter:
    """Prints the summary.

    Args:
        example: what the requests to try need.
    """

    def __init__(self, example: Example) -> None:
        self._example = example

    def listening(self, report: StartReport) -> None:
        """Print the ready marker and the addresses."""
        _print(listening_lines(report))

    def settled(self, report: StartReport) -> None:
        """Print the models."""
        _print(settled_lines(report, self._example))


def _print(lines: Sequence[str]) -> None:
    """Print from a thread, and wait a moment for it: nobody may be reading, and we must go on."""
    printing = threading.Thread(target=_echo, args=(lines,), name=WRITER_THREAD, daemon=True)
    printing.start()
    printing.join(PRINT_S)


def _echo(lines: Sequence[str]) -> None:
    try:
        click.echo("\n".join(lines))
    except OSError as error:
        # Whoever started the server has closed the pipe; that is no reason to end.
        logger.warning("The start cannot be reported on stdout: %s", error.strerror)


class PidFileReporter:
    """Keeps the addresses in the pid file true: a port may have been chosen by the system.

    Args:
        pid_file: the claimed file.
        record: what was claimed.
    """

    def __init__(self, pid_file: PidFile, record: ServerRecord) -> None:
        self._pid_file = pid_file
        self._record = record

    def listening(self, report: StartReport) -> None:
        """Write the addresses."""
        record = dataclasses.replace(
            self._record,
            inference=report.inference,
            management=report.management,
            metrics=report.metrics,
        )
        try:
            self._pid_file.claim(record)
        except (OSError, AlreadyRunning) as error:
            # `tsl status` may look in the wrong place now; the server itself is well.
            logger.warning("The addresses cannot be written to %s: %s", self._pid_file.path, error)

    def settled(self, report: StartReport) -> None:
        """Nothing changes."""


class PipeReporter:
    """Tells the process that started this one, then closes the pipe.

    Args:
        descriptor: the pipe's end for writing; owned by this object.
    """

    def __init__(self, descriptor: int) -> None:
        # Workers must not hold the pipe open: its end tells the launcher that we are gone.
        os.set_inheritable(descriptor, False)
        self._descriptor = descriptor

    def listening(self, report: StartReport) -> None:
        """Tell it."""
        self._tell("listening", report)

    def settled(self, report: StartReport) -> None:
        """Tell it, as the last thing."""
        self._tell("settled", report)
        os.close(self._descriptor)

    def _tell(self, moment: Moment, report: StartReport) -> None:
        try:
            os.write(self._descriptor, encode_moment(moment, report))
        except OSError as error:
            # The launcher was interrupted; the server goes on.
            logger.info("The launcher is gone: %s", error.strerror)


def encode_moment(moment: Moment, report: StartReport) -> bytes:
    """A moment as one line of JSON."""
    message = {"moment": moment, "report": dataclasses.asdict(report)}
    return json.dumps(message).encode() + b"\n"


def decode_moment(line: bytes) -> tuple[Moment, StartReport]:
    """The moment that `encode_moment` wrote."""
    message = json.loads(line)
    report = message["report"]
    report["models"] = tuple(ModelReport(**model) for model in report["models"])
    report["grpc"] = tuple(report["grpc"])
    return message["moment"], StartReport(**report)
