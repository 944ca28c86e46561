"""``tsl models`` and ``tsl describe``: what a running server serves."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final

import click

from .connected import (
    Api,
    all_versions,
    answer,
    default_version,
    management,
    model_names,
    model_path,
    query,
    reports_failures,
)
from .exit_codes import ExitCode
from .status import ModelStatus, model_status
from .tables import aligned

_HEADINGS: Final = ("MODEL", "VERSION", "DEFAULT", "STATE", "WORKERS", "QUEUE", "BATCH", "FROM")
_WORKER_HEADINGS: Final = ("WORKER", "STATUS", "PID", "MEMORY", "SINCE")
_MB: Final = 1_000_000


@click.command("models")
@click.option("--json", "as_json", is_flag=True, help="Write JSON.")
@reports_failures
def models(as_json: bool) -> int:
    """List every version of every model."""
    rows = listing(management())
    if as_json:
        click.echo(json.dumps(rows, indent=2, ensure_ascii=False))
    elif rows:
        for line in aligned([_HEADINGS, *map(_cells, rows)]):
            click.echo(line)
    else:
        click.echo("No models are loaded.")
    return ExitCode.OK


@click.command("describe")
@click.argument("model")
@click.argument("version", required=False)
@click.option("--customized", is_flag=True, help="Also ask the model's handler about itself.")
@click.option("--json", "as_json", is_flag=True, help="Write the server's answer as it is.")
@reports_failures
def describe(model: str, version: str | None, customized: bool, as_json: bool) -> int:
    """Describe a model: its default version, the given VERSION, or `all`."""
    asked = query(customized="true" if customized else None)
    document = answer(
        management(), "GET", f"{model_path(model, version)}{asked}", is_long=customized
    )
    if as_json:
        click.echo(json.dumps(document, indent=2, ensure_ascii=False))
        return ExitCode.OK
    for number, described in enumerate(document):
        if number:
            click.echo()
        for line in description(described):
            click.echo(line)
    return ExitCode.OK


def listing(api: Api) -> list[dict[str, Any]]:
    """One entry for each version, as ``tsl models --json`` writes it."""
    rows = []
    for name in model_names(api):
        versions = all_versions(api, name)
        default = default_version(api, name, versions) if versions else ""
        rows += [_entry(described, default) for described in versions]
    return rows


def _entry(described: Mapping[str, Any], default: str) -> dict[str, Any]:
    status: ModelStatus = model_status(described)
    return {
        "model": status.name,
        "version": status.version,
        "default": status.version == default,
        "state": status.state,
        "workersReady": status.ready,
        "minWorkers": status.wanted,
        "maxWorkers": described.get("maxWorkers"),
        "queued": status.queued,
        "batchSize": described.get("batchSize"),
        "url": described.get("modelUrl"),
    }


def _cells(row: Mapping[str, Any]) -> tuple[str, ...]:
    return (
        row["model"],
        row["version"],
        "yes" if row["default"] else "",
        row["state"],
        f"{row['workersReady']}/{row['minWorkers']}",
        "-" if row["queued"] is None else str(row["queued"]),
        str(row["batchSize"]),
        str(row["url"]),
    )


def description(described: Mapping[str, Any]) -> list[str]:
    """A description for people: settings, then workers."""
    workers = described.get("workers") or []
    settings = [
        (key, _text(value)) for key, value in described.items() if key != "workers" and value != ""
    ]
    lines = aligned(settings)
    if workers:
        lines += ["", *aligned([_WORKER_HEADINGS, *map(_worker_cells, workers)])]
    return lines


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_text(each)}" for key, each in value.items())
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ", ".join(map(_text, value))
    return str(value)


def _worker_cells(worker: Mapping[str, Any]) -> tuple[str, ...]:
    used = worker.get("memoryUsage") or 0
    return (
        str(worker.get("id")),
        str(worker.get("status")),
        str(worker.get("pid")),
        f"{used / _MB:.0f} MB" if used else "-",
        str(worker.get("startTime")),
    )
