"""Run the server in this very process: claim the pid file, set up logging, report, clean up."""

from __future__ import annotations

import contextlib
import datetime
import logging
import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final, TypeAlias

import click

from tsl.frontend.config import ServerConfig
from tsl.frontend.logs import line_log
from tsl.frontend.logs.settings import LogSettings
from tsl.frontend.report import Reporter
from tsl.protocol.errors import ConfigError

from . import logs
from .beside import beside_warning
from .exit_codes import ExitCode
from .logs import configure_logging
from .pidfile import AlreadyRunning, PidFile, ServerRecord, start_ticks_of
from .reporting import ConsoleReporter, FanOut, PidFileReporter, PipeReporter
from .server_process import PlainPidFile
from .summary import Example

logger = logging.getLogger(__name__)

_WRITER_THREADS: Final = (logs.WRITER_THREAD, line_log.WRITER_THREAD)

RunServer: TypeAlias = Callable[[ServerConfig, Reporter], int]

# After the drain, workers get a moment to leave before they are killed.
_STOP_MARGIN_S: Final = 10.0

# TorchServe's words: scripts look for them.
ALREADY_RUNNING: Final = (
    "TorchServe is already running, please use torchserve --stop to stop TorchServe."
)


@dataclass(frozen=True, slots=True, kw_only=True)
class StartContext:
    """What a start knows besides the configuration.

    Attributes:
        curl_lines: the demo's requests to try, see `Example`.
        report_fd: pipe to the process that launched this one; None without one.
    """

    curl_lines: tuple[str, ...] = ()
    report_fd: int | None = None


def serve(config: ServerConfig, context: StartContext, run_server: RunServer) -> int:
    """Run the server until it ends.

    Args:
        config: its configuration.
        context: how it was started.
        run_server: `tsl.frontend.server.run`.

    Returns:
        The exit code.
    """
    pid_file = PidFile(config.work_dir)
    record = _own_record(config)
    try:
        pid_file.claim(record)
    except AlreadyRunning as error:
        tell_already_running(error.record)
        return ExitCode.FAILED
    except OSError as error:
        click.echo(f"Cannot write {pid_file.path}: {error.strerror}.", err=True)
        click.echo("Set TEMP or TMPDIR to a folder that can be written.", err=True)
        return ExitCode.FAILED
    plain_pid_file = PlainPidFile(config.work_dir)
    plain_pid_file.write(record.pid)
    try:
        code = _run(config, context, run_server, PidFileReporter(pid_file, record))
    finally:
        plain_pid_file.remove(record.pid)
        # The folder may be gone by now, together with the file.
        with contextlib.suppress(OSError):
            pid_file.release(record)
    if any(thread.name in _WRITER_THREADS for thread in threading.enumerate()):
        # A log writer hangs in a write that nobody takes. The interpreter's orderly end would
        # wait for its locks, for ever; everything that can be written has been.
        os._exit(code)
    return code


def _run(
    config: ServerConfig, context: StartContext, run_server: RunServer, first: PidFileReporter
) -> int:
    with contextlib.closing(configure_logging(LogSettings.of(config))):
        return _run_logged(config, context, run_server, first)


def _run_logged(
    config: ServerConfig, context: StartContext, run_server: RunServer, first: PidFileReporter
) -> int:
    _log_notes(config)
    reporters: list[Reporter] = [
        first,
        ConsoleReporter(example_of(config, context.curl_lines)),
    ]
    if context.report_fd is not None:
        reporters.append(PipeReporter(context.report_fd))
    try:
        return run_server(config, FanOut(reporters))
    except ConfigError as error:
        for problem in error.problems:
            click.echo(f"Cannot start: {problem}", err=True)
        return ExitCode.FAILED
    except Exception:
        # The boundary of this process: whatever nobody expected is logged once and ends it.
        logger.exception("The server ended by an error that is a bug of tsl")
        click.echo(
            f"The server ended by an unexpected error; the log in {config.log_location} has it.",
            err=True,
        )
        return ExitCode.FAILED


def _log_notes(config: ServerConfig) -> None:
    for warning in (*config.warnings, beside_warning()):
        if warning:
            logger.warning("%s", warning)
    if config.ignored:
        logger.info("Properties of the Java server are not used: %s", ", ".join(config.ignored))


def example_of(config: ServerConfig, curl_lines: tuple[str, ...]) -> Example:
    """What the requests to try need."""
    return Example(curl_lines=curl_lines, needs_token=not config.disable_token_authorization)


def tell_already_running(record: ServerRecord) -> None:
    """Say that a server runs, which one, and what to do."""
    click.echo(ALREADY_RUNNING, err=True)
    click.echo(
        f"Process {record.pid} serves {record.inference}; `tsl stop` stops it. For a second "
        "server, set TMPDIR to another folder.",
        err=True,
    )


def _own_record(config: ServerConfig) -> ServerRecord:
    pid = os.getpid()
    started_at = datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")
    return ServerRecord(
        pid=pid,
        start_ticks=start_ticks_of(pid) or 0,
        inference=config.inference_address.client_url,
        management=config.management_address.client_url,
        metrics=config.metrics_address.client_url if config.enable_metrics_api else "",
        working_dir=str(Path.cwd()),
        started_at=started_at,
        stop_within_s=config.drain_timeout_s + _STOP_MARGIN_S,
        needs_token=not config.disable_token_authorization,
        log_dir=str(config.log_location.absolute()),
        metrics_dir=str(config.metrics_location.absolute()),
        keys_file=str(config.keys_file.absolute()) if config.keys_file else "",
    )
