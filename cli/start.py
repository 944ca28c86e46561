"""``tsl start``: options to configuration, then the server here or in the background."""

from __future__ import annotations

import dataclasses
import functools
import os
import signal
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any, Final, NoReturn

import click

from tsl.frontend.config import ServerConfig
from tsl.frontend.config_source import find_config
from tsl.protocol.errors import ConfigError

from .exit_codes import ExitCode
from .log_config import log4j_file, with_log4j
from .options import ManyValuesCommand, join_models, split_settings

DEMO_FOLDER: Final = "model_store_demo"

_FILE: Final = click.Path(path_type=Path)


@dataclass(frozen=True, slots=True, kw_only=True)
class StartOptions:
    """The command line of ``tsl start``, one attribute per option."""

    model_store: Path | None
    models: tuple[str, ...]
    workflow_store: Path | None
    inference_address: str | None
    management_address: str | None
    metrics_address: str | None
    ts_config: Path | None
    log_config: Path | None
    foreground: bool
    no_config_snapshots: bool
    enable_model_api: bool
    disable_token_auth: bool
    demo: bool
    settings: tuple[str, ...]
    curl_lines: tuple[str, ...]
    report_fd: int | None
    no_console_log: bool

    def overrides(self) -> dict[str, Any]:
        """The options that are settings, by property name."""
        given: dict[str, Any] = {
            "model_store": self.model_store,
            "workflow_store": self.workflow_store,
            "load_models": join_models(self.models) or None,
            "inference_address": self.inference_address,
            "management_address": self.management_address,
            "metrics_address": self.metrics_address,
            # These two can only be switched on here, as in TorchServe.
            "enable_model_api": self.enable_model_api or None,
            "disable_token_authorization": self.disable_token_auth or None,
            "config_snapshots": False if self.no_config_snapshots else None,
        }
        named = {key: value for key, value in given.items() if value is not None}
        return {**split_settings(self.settings), **named}

    def words(self) -> list[str]:
        """A command line with the same meaning, to run the server in the foreground."""
        valued: dict[str, object] = {
            "--model-store": self.model_store,
            "--workflow-store": self.workflow_store,
            "--inference-address": self.inference_address,
            "--management-address": self.management_address,
            "--metrics-address": self.metrics_address,
            "--ts-config": self.ts_config,
            "--log-config": self.log_config,
            "--models": join_models(self.models) or None,
        }
        switched = {
            "--no-config-snapshots": self.no_config_snapshots,
            "--enable-model-api": self.enable_model_api,
            "--disable-token-auth": self.disable_token_auth,
        }
        return [
            "start",
            "--foreground",
            *(f"{name}={value}" for name, value in valued.items() if value is not None),
            *(f"--set={setting}" for setting in self.settings),
            *(f"--curl-line={line}" for line in self.curl_lines),
            *(name for name, is_on in switched.items() if is_on),
        ]


@click.command("start", cls=ManyValuesCommand)
@click.option("--model-store", type=_FILE, help="Folder with the model archives.")
@click.option(
    "--models",
    multiple=True,
    metavar="[NAME=]ARCHIVE ...",
    help="Models to load: any number of archives or URLs, or `all`.",
)
@click.option("--foreground", is_flag=True, help="Run here until stopped, not in the background.")
@click.option("--ts-config", type=_FILE, help="Configuration file, default config.properties.")
@click.option("--workflow-store", type=_FILE, help="Folder with the workflow archives.")
@click.option("--inference-address", metavar="URL", help="Where the inference API listens.")
@click.option("--management-address", metavar="URL", help="Where the management API listens.")
@click.option("--metrics-address", metavar="URL", help="Where the metrics API listens.")
@click.option("--enable-model-api", is_flag=True, help="Allow to register models by the API.")
@click.option("--disable-token-auth", "--dt", is_flag=True, help="Serve without tokens.")
@click.option("--demo", is_flag=True, help="Build example models and serve them.")
@click.option(
    "--no-config-snapshots",
    "--ncs",
    is_flag=True,
    help="Neither restore the last snapshot nor write new ones.",
)
@click.option(
    "--log-config",
    type=_FILE,
    help="A log4j2 file in XML; levels, files, sizes and JSON of it are used.",
)
@click.option(
    "--set",
    "settings",
    multiple=True,
    metavar="KEY=VALUE",
    help="Any setting of the configuration file; may be repeated.",
)
@click.option("--curl-line", "curl_lines", multiple=True, hidden=True)
@click.option("--report-fd", type=int, hidden=True)
@click.option("--no-console-log", is_flag=True, hidden=True)
def command(**options: Any) -> int:
    """Start a server, in the background unless told otherwise."""
    chosen = StartOptions(**options)
    try:
        if chosen.demo:
            chosen = _with_demo(chosen)
        config = configure(chosen, os.environ, Path.cwd())
    except ConfigError as error:
        for problem in error.problems:
            click.echo(problem, err=True)
        return ExitCode.FAILED
    return _serve(chosen, config) if chosen.foreground else _launch(chosen, config)


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


def _serve(options: StartOptions, config: ServerConfig) -> int:
    # Imported here: a launcher in the background needs neither the server nor its event loop.
    from tsl.frontend.early_nursery import start_early

    if options.no_console_log:
        config = dataclasses.replace(config, log_console="false")
    # Until the server answers signals itself, SIGTERM ends the start, and what it has begun.
    before = signal.signal(signal.SIGTERM, _give_up)
    nursery = start_early(config, os.environ)
    try:
        # All that the server imports is imported while the fork server imports torch.
        from tsl.frontend.server import run

        from .foreground import StartContext, serve

        context = StartContext(
            curl_lines=options.curl_lines,
            report_fd=options.report_fd,
        )
        return serve(config, context, functools.partial(run, nursery=nursery))
    finally:
        signal.signal(signal.SIGTERM, before)
        if nursery is not None:
            nursery.end()


def _give_up(number: int, frame: FrameType | None) -> NoReturn:
    del number, frame
    raise SystemExit(ExitCode.OK)


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
