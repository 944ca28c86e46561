"""``tsl archive``: pack a model, or look at an archive without running anything of it."""

from __future__ import annotations

import os
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Final

import click

from tsl.model_store.manifest import RUNTIMES
from tsl.model_store.packing import ArchiveFormat, PackedModel, creation_time, pack_model
from tsl.model_store.packing_members import PackingOrder, split_extra_files
from tsl.model_store.unpacking import Progress
from tsl.protocol.errors import ConfigError

from .archive_reading import inspect_command, verify_command
from .exit_codes import ExitCode
from .progress import ProgressLine

_CREATE: Final = "create"


class _GroupWithDefault(click.Group):
    """A group whose options are those of ``create``, so that ``create`` need not be written."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Put ``create`` before options that are not the group's own."""
        if args and args[0].startswith("-") and args[0] not in ctx.help_option_names:
            args = [_CREATE, *args]
        return super().parse_args(ctx, args)


@click.group("archive", cls=_GroupWithDefault)
def command() -> None:
    """Pack a model, or look into an archive.

    `tsl archive` takes all options of `tsl archive create`, which are those of
    torch-model-archiver.
    """


@command.command(_CREATE)
@click.option("--model-name", required=True, help="Name of the model and of the archive.")
@click.option("--version", "-v", "model_version", required=True, help="The model's version.")
@click.option(
    "--handler",
    required=True,
    help="The handler's file, FILE:FUNCTION, or the name of a built-in handler.",
)
@click.option("--serialized-file", type=click.Path(path_type=Path), help="Weights.")
@click.option(
    "--model-file", type=click.Path(path_type=Path), help="Python file with the model's class."
)
@click.option(
    "--extra-files",
    help="Files, folders (their content is packed) and wildcards, separated by commas.",
)
@click.option(
    "--requirements-file",
    "-r",
    type=click.Path(path_type=Path),
    help="Python packages that the handler needs.",
)
@click.option(
    "--config-file", "-c", type=click.Path(path_type=Path), help="The model's settings, in YAML."
)
@click.option("--runtime", type=click.Choice(RUNTIMES), default="python", show_default=True)
@click.option(
    "--export-path",
    type=click.Path(path_type=Path),
    default=Path(),
    help="Folder of the archive; created if it is missing. Default: this one.",
)
@click.option(
    "--archive-format",
    type=click.Choice([each.value for each in ArchiveFormat]),
    default=ArchiveFormat.DEFAULT.value,
    show_default=True,
    help="default: .mar; zip-store: .mar without compression; tgz: .tar.gz; no-archive: a folder.",
)
@click.option("--force", "-f", "overwrite", is_flag=True, help="Replace an existing archive.")
def create(
    model_name: str,
    model_version: str,
    handler: str,
    serialized_file: Path | None,
    model_file: Path | None,
    extra_files: str | None,
    requirements_file: Path | None,
    config_file: Path | None,
    runtime: str,
    export_path: Path,
    archive_format: str,
    overwrite: bool,
) -> int:
    """Pack a model. The same input gives the same bytes."""
    order = PackingOrder(
        model_name=model_name,
        model_version=model_version,
        handler=handler,
        serialized_file=serialized_file,
        model_file=model_file,
        extra_files=split_extra_files(extra_files),
        requirements_file=requirements_file,
        config_file=config_file,
        runtime=runtime,
    )
    return pack(order, export_path, ArchiveFormat(archive_format), overwrite=overwrite)


def pack(
    order: PackingOrder,
    export_path: Path,
    archive_format: ArchiveFormat,
    *,
    overwrite: bool,
    is_quiet: bool = False,
) -> int:
    """Pack a model at a terminal.

    Args:
        order: what to pack.
        export_path: folder of the archive.
        archive_format: how to store it.
        overwrite: replace an archive of that name.
        is_quiet: do not say what has been written, as torch-model-archiver does not.

    Returns:
        The exit code.
    """

    def make(progress: Progress, created_on: datetime) -> PackedModel:
        return pack_model(
            order,
            export_path,
            archive_format,
            overwrite=overwrite,
            created_on=created_on,
            on_progress=progress,
        )

    return show_packing(make, is_quiet=is_quiet)


def show_packing(
    make: Callable[[Progress, datetime], PackedModel], *, is_quiet: bool = False
) -> int:
    """Show what comes of packing.

    Args:
        make: packs; gets what to tell of its progress, and the time in the archive.
        is_quiet: do not say what has been written.

    Returns:
        The exit code.
    """
    try:
        with ProgressLine() as progress:
            packed = make(
                lambda done, total: progress.show("packing", done, total),
                creation_time(os.environ),
            )
    except ConfigError as error:
        for problem in error.problems:
            click.echo(f"Error: {problem}", err=True)
        return ExitCode.FAILED
    for warning in packed.warnings:
        click.echo(f"Warning: {warning}", err=True)
    if not is_quiet:
        click.echo(f"{packed.path} ({packed.size_bytes} bytes)")
    return ExitCode.OK


command.add_command(inspect_command)
command.add_command(verify_command)
