"""``tsl token``: print a key of the running server, for use inside a curl command."""

from __future__ import annotations

import os
from pathlib import Path

import click

from .exit_codes import ExitCode
from .keys import KEY_NAMES, read_keys
from .running import NOT_RUNNING, pid_file_of


@click.command("token")
@click.argument("name", type=click.Choice(KEY_NAMES), default="inference")
def command(name: str) -> int:
    """Print the key NAME of the running server: inference (default), management or API."""
    record = pid_file_of(os.environ).read()
    if record is None:
        click.echo(NOT_RUNNING, err=True)
        return ExitCode.NOT_RUNNING
    key = read_keys(Path(record.working_dir)).get(name)
    if key is None:
        click.echo(
            f"No readable key file in {record.working_dir}: the server runs without tokens, or "
            "under another user.",
            err=True,
        )
        return ExitCode.FAILED
    click.echo(key)
    return ExitCode.OK
