"""A start, once its options are known: the configuration, then the server here or in the background."""

from __future__ import annotations

import dataclasses
import functools
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import click

from tsl.frontend.config import ServerConfig
from tsl.frontend.config_source import find_config
from tsl.frontend.nursery_process import NurseryProcess
from tsl.protocol.errors import ConfigError

from .exit_codes import ExitCode
from .log_config import log4j_file, with_log4j
from .start_options import StartOptions

DEMO_FOLDER: Final = "model_store_demo"


def start(options: StartOptions, nursery: NurseryProcess | None) -> int:
    """Start a server.

    Args:
        options: the command line.
        nursery: a fork server that has just been started; ended by the caller, if the server does not
            come to that.

    Returns:
        The exit code.
    """
    try:
        if options.demo:
            options = _with_demo(options)
        config = configure(options, os.environ, Path.cwd())
    except ConfigError as error:
        for problem in error.problems:
            click.echo(problem, err=True)
        return ExitCode.FAILED
    return _serve(options, config, nursery) if options.foreground else _launch(options, config)


def configure(options: StartOptions, environ: Mapping[str, str], working_dir: Path) -> ServerConfig:
    """The configuration of a start.

    Args:
        options: the command line.
        environ: environment variables.
        working_dir: where ``config.properties`` is looked for.

    Raises:
        ConfigError: something is wrong with it; the last problem is an advice.
    """
    source = find_config(
        environ, options.ts_config, working_dir, use_snapshots=not options.no_config_snapshots
    )
    try:
        config = ServerConfig.load(source.text, environ, options.overrides(), notes=source.notes)
    except ConfigError as error:
        problems = (f"Invalid configuration: {problem}" for problem in error.problems)
        read_from = f"The configuration file is {source.file}. " if source.file else ""
        raise ConfigError(
            *problems, f"{read_from}docs/configuration.md explains every setting."
        ) from error
    _check_folders(config)
    log_config = options.log_config or log4j_file(source.text or "")
    return with_log4j(config, log_config, environ) if log_config is not None else config


def _check_folders(config: ServerConfig) -> None:
    store = config.model_store
    if store is None:
        raise ConfigError(
            "Missing mandatory parameter --model-store",
            "Name the folder with your archives, tsl start --model-store DIR, or try "
            "tsl start --demo.",
        )
    if not store.is_dir():
        raise ConfigError(
            f"The model store {store} is not a folder.",
            f"Make it with mkdir -p {store}, or name another one with --model-store.",
        )
    if not config.work_dir.is_dir():
        raise ConfigError(
            f"The working folder {config.work_dir} does not exist.",
            "Set TEMP or TMPDIR to a folder that can be written.",
        )


def _with_demo(options: StartOptions) -> StartOptions:
    """Build the example models and serve them instead of a store of the user's."""
    if options.model_store or options.models:
        msg = "--demo brings its own models; leave out --model-store and --models"
        raise click.UsageError(msg)
    from .demo import build_demo  # only a demo pays for importing it

    try:
        store = build_demo(Path(DEMO_FOLDER), click.echo)
    except OSError as error:
        msg = f"The demo cannot be written to the folder {DEMO_FOLDER}: {error.strerror}."
        raise ConfigError(msg, "Start it in a folder that can be written.") from error
    return dataclasses.replace(
        options,
        demo=False,
        # The next start in this folder is not to bring the demo back.
        no_config_snapshots=True,
        model_store=store.model_store,
        models=(store.models,),
        curl_lines=store.curl_lines,
    )


def _serve(options: StartOptions, config: ServerConfig, nursery: NurseryProcess | None) -> int:
    # Imported here: a launcher in the background needs neither the server nor its event loop.
    from tsl.frontend.early_nursery import prepare

    if options.no_console_log:
        config = dataclasses.replace(config, log_console="false")
    if nursery is not None and not prepare(nursery, config, os.environ):
        nursery = None
    # All that the server imports is imported while the fork server imports torch.
    from tsl.frontend.server import run

    from .foreground import StartContext, serve

    context = StartContext(curl_lines=options.curl_lines, report_fd=options.report_fd)
    return serve(config, context, functools.partial(run, nursery=nursery))


def _launch(options: StartOptions, config: ServerConfig) -> int:
    from .background import Launch
    from .foreground import example_of, tell_already_running
    from .pidfile import PidFile

    running = PidFile(config.work_dir).read()
    if running is not None:
        tell_already_running(running)
        return ExitCode.FAILED
    launch = Launch(
        config,
        options.words(),
        example_of(config, options.curl_lines),
        is_terminal=sys.stdout.isatty(),
    )
    return launch.run()
