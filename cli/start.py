"""``tsl start``: its options, and what cannot begin soon enough.

The fork server is started before anything else is imported, and imports itself meanwhile.
"""

from __future__ import annotations

import os
import signal
from pathlib import Path
from types import FrameType
from typing import Any, Final, NoReturn

import click

from tsl.frontend.nursery_process import NurseryProcess

from .exit_codes import ExitCode
from .options import ManyValuesCommand
from .start_options import StartOptions

_FILE: Final = click.Path(path_type=Path)


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
    return _start_here(chosen) if chosen.foreground else _start(chosen, None)


def _start_here(options: StartOptions) -> int:
    # Until the server answers signals itself, SIGTERM ends the start, and what it has begun.
    before = signal.signal(signal.SIGTERM, _give_up)
    nursery = None
    try:
        nursery = NurseryProcess.begin(os.environ)
        return _start(options, nursery)
    finally:
        signal.signal(signal.SIGTERM, before)
        if nursery is not None:
            nursery.end()


def _give_up(number: int, frame: FrameType | None) -> NoReturn:
    del number, frame
    raise SystemExit(ExitCode.OK)


def _start(options: StartOptions, nursery: NurseryProcess | None) -> int:
    from .starting import start  # the configuration, and all of the server that this start needs

    return start(options, nursery)
