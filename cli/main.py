"""The tree of commands. Nothing here imports a command before it is asked for.

Completion and ``tsl --help`` must be quick, so the one-line helps are written beside the names.
"""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

import click

from .exit_codes import ExitCode


@dataclass(frozen=True, slots=True)
class _Entry:
    """Where a command lives, what it does, and its name in that module."""

    module: str
    help: str
    attribute: str = "command"


COMMANDS: Final = {
    "start": _Entry("tsl.cli.start", "Start a server."),
    "stop": _Entry("tsl.cli.stop", "Stop the server and wait until it is gone."),
    "status": _Entry("tsl.cli.status", "Show what the server serves and how it is."),
    "models": _Entry("tsl.cli.models", "List what is served.", "models"),
    "describe": _Entry("tsl.cli.models", "Describe a model and its workers.", "describe"),
    "register": _Entry("tsl.cli.changes", "Serve another model.", "register"),
    "scale": _Entry("tsl.cli.changes", "Change the number of a model's workers.", "scale"),
    "unregister": _Entry("tsl.cli.changes", "Stop serving a model.", "unregister"),
    "set-default": _Entry("tsl.cli.changes", "Choose the default version.", "set_default"),
    "top": _Entry("tsl.cli.top", "Watch models, queues, rates and latencies."),
    "logs": _Entry("tsl.cli.show_logs", "Print or follow the server's logs."),
    "token": _Entry("tsl.cli.token", "Print a key of the server."),
    "config": _Entry("tsl.cli.configuration", "Show and explain the settings."),
    "archive": _Entry("tsl.cli.archive", "Pack a model, or look into an archive."),
}


class LazyGroup(click.Group):
    """A group that imports a command when it runs."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Names in the order of `COMMANDS`."""
        del ctx
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the command; None when there is no such."""
        del ctx
        entry = COMMANDS.get(cmd_name)
        if entry is None:
            return None
        command = getattr(importlib.import_module(entry.module), entry.attribute)
        if not isinstance(command, click.Command):
            msg = f"{entry.module}.{entry.attribute} is not a click command"
            raise TypeError(msg)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """The list of commands, without importing one."""
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl([(name, entry.help) for name, entry in COMMANDS.items()])


def _print_version(ctx: click.Context, param: click.Parameter, value: bool) -> None:
    del param
    if not value or ctx.resilient_parsing:
        return
    from importlib.metadata import version  # costs 20 ms, and only this option needs it

    click.echo(f"tsl {version('tsl')}")
    ctx.exit(ExitCode.OK)


@click.group(cls=LazyGroup, context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--version",
    "-v",
    is_flag=True,
    expose_value=False,
    is_eager=True,
    callback=_print_version,
    help="Print the version and exit.",
)
def cli() -> None:
    """Serve PyTorch models over HTTP."""


def main(args: Sequence[str] | None = None) -> int:
    """Run a command line.

    Args:
        args: the words after the program's name; ``sys.argv`` when None.

    Returns:
        The exit code, see docs/exit-codes.md.
    """
    try:
        result = cli.main(args=args, prog_name="tsl", standalone_mode=False)
    except click.ClickException as error:
        error.show()
        return error.exit_code
    except click.exceptions.Abort:
        click.echo("Interrupted.", err=True)
        return ExitCode.INTERRUPTED
    return result if isinstance(result, int) else ExitCode.OK
