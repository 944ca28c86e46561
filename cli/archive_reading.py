"""``tsl archive inspect`` and ``tsl archive verify``: read archives as the server would.

An archive may come from anybody: it is unpacked with the server's checks, nothing of it is run,
and what it says about itself is printed without control characters.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import click
import yaml

from tsl.model_store import ArchiveCache
from tsl.model_store.inspection import ModelInspection, find_problems, inspect_model
from tsl.model_store.pickles import WeightsFile, WeightsKind
from tsl.protocol.errors import InvalidArchive, ServiceUnavailable

from .exit_codes import ExitCode
from .progress import ProgressLine


@click.command("inspect")
@click.argument("file", type=click.Path(path_type=Path))
def inspect_command(file: Path) -> int:
    """Show what FILE holds: an archive, or the folder of a model."""
    try:
        with _unpacked(file) as folder:
            inspection = inspect_model(folder)
    except (InvalidArchive, ServiceUnavailable, OSError) as error:
        return _failed(file, error)
    click.echo("\n".join(inspection_lines(inspection)))
    return ExitCode.OK


@click.command("verify")
@click.argument("file", type=click.Path(path_type=Path))
def verify_command(file: Path) -> int:
    """Say whether FILE can be served as it is, without running it. Exit code 1 if not."""
    try:
        with _unpacked(file) as folder:
            problems = find_problems(folder)
    except (InvalidArchive, ServiceUnavailable, OSError) as error:
        return _failed(file, error)
    for problem in problems:
        click.echo(f"{file}: {printable(problem)}", err=True)
    if problems:
        return ExitCode.FAILED
    click.echo(f"{file}: no problem found.")
    return ExitCode.OK


def inspection_lines(inspection: ModelInspection) -> list[str]:
    """What ``tsl archive inspect`` prints."""
    manifest = inspection.manifest
    total_bytes = sum(size for _, size in inspection.files)
    lines = [
        f"model     {manifest.model_name or '(no name)'} {manifest.model_version}",
        f"handler   {_handler(inspection)}",
        f"runtime   {manifest.runtime}",
        f"torch     {_torch(inspection)}",
        *(f"weights   {_weights(weights)}" for weights in inspection.weights),
        "manifest",
        *_indented(json.dumps(manifest.raw, indent=2) if manifest.raw else "(none)"),
        f"settings  {manifest.config_file or '(none)'}",
        *(_indented(yaml.safe_dump(inspection.config)) if inspection.config else []),
        f"files     {len(inspection.files)}, {total_bytes} bytes",
        *(f"  {size:>12}  {name}" for name, size in inspection.files),
    ]
    return [printable(line) for line in lines]


def printable(text: str) -> str:
    """Text of an archive without what a terminal would obey."""
    return "".join(
        character if character.isprintable() else ascii(character)[1:-1] for character in text
    )


def _handler(inspection: ModelInspection) -> str:
    name = inspection.manifest.handler
    if name is None:
        return "(none)"
    if inspection.is_built_in:
        return f"{name} (built in)"
    return (
        f"{name} (in {inspection.handler_file})" if inspection.handler_file else f"{name} (missing)"
    )


def _torch(inspection: ModelInspection) -> str:
    if inspection.torch_users:
        return f"needed by {', '.join(inspection.torch_users)}"
    return "no file imports it"


def _weights(weights: WeightsFile) -> str:
    if weights.kind is WeightsKind.TORCHSCRIPT:
        return f"{weights.name}: TorchScript, a program that torch runs"
    if weights.names:
        return f"{weights.name}: pickle; loading it runs {', '.join(weights.names)}"
    return f"{weights.name}: pickle of tensors only"


def _indented(text: str) -> list[str]:
    return [f"  {line}" for line in text.splitlines()]


@contextmanager
def _unpacked(file: Path) -> Iterator[Path]:
    """The model's folder: a temporary one, or the one that was named."""
    with (
        tempfile.TemporaryDirectory(prefix="tsl-archive-") as temporary,
        ProgressLine() as progress,
    ):
        model = ArchiveCache(Path(temporary, "models")).open(file, progress.show)
        yield model.path
        # The lock ends with the process, and the folder with this block.


def _failed(file: Path, error: Exception) -> int:
    reason = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
    click.echo(f"{file}: {printable(reason)}", err=True)
    return ExitCode.FAILED
