"""``tsl token``: print a key of the running server, for use inside a curl command."""

from __future__ import annotations

import os

import click

from tsl.frontend.key_file import KEY_NAMES

from .exit_codes import ExitCode
from .keys import CannotRenew, management_client, read_keys, renew, usable_key
from .pidfile import ServerRecord
from .running import NOT_RUNNING, pid_file_of


@click.command("token")
@click.argument("name", type=click.Choice(KEY_NAMES), default="inference")
@click.option("--renew", "is_new", is_flag=True, help="Make a new one; the old one ends.")
def command(name: str, is_new: bool) -> int:
    """Print the key NAME of the running server: inference (default), management or API.

    A key that has expired is renewed first.
    """
    if is_new and name == "API":
        msg = "the API key is for as long as the server runs; --renew is for the other two"
        raise click.UsageError(msg)
    record = pid_file_of(os.environ).read()
    if record is None:
        click.echo(NOT_RUNNING, err=True)
        return ExitCode.NOT_RUNNING
    try:
        key = _key(record, name, is_new=is_new)
    except CannotRenew as error:
        click.echo(f"The {name} key cannot be renewed: {error}", err=True)
        return ExitCode.FAILED
    if key is None:
        click.echo(_why_none(record, name), err=True)
        return ExitCode.FAILED
    click.echo(key)
    return ExitCode.OK


def _key(record: ServerRecord, name: str, *, is_new: bool) -> str | None:
    keys = read_keys(record, os.environ)
    if is_new and keys:
        return renew(management_client(record, keys), name)
    return usable_key(record, keys, name)


def _why_none(record: ServerRecord, name: str) -> str:
    if not record.needs_token:
        return "The server runs without tokens: requests need no key."
    return (
        f"The {name} key is not readable in {record.working_dir}: the server belongs to another "
        "user, or its keys are fixed and this shell does not have them."
    )
