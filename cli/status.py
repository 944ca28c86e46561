"""``tsl status``: ask the running server what it serves and how it is."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

import click

from .api_client import NoAnswer
from .connected import Api, CommandFailed, all_versions, connect, model_names
from .exit_codes import ExitCode
from .keys import CannotRenew
from .pidfile import ServerRecord
from .tables import aligned

_HEADINGS: Final = ("MODEL", "VERSION", "STATE", "WORKERS", "QUEUE")


@dataclass(frozen=True, slots=True)
class ModelStatus:
    """One line of the table.

    Attributes:
        name: model name.
        version: model version.
        ready: workers that serve.
        wanted: workers there should be.
        queued: requests that wait; None when the server does not say.
    """

    name: str
    version: str
    ready: int
    wanted: int
    queued: int | None

    @property
    def state(self) -> str:
        """One word for how it is."""
        if self.wanted == 0 and self.ready == 0:
            return "no workers"
        if self.ready >= self.wanted:
            return "ready"
        return "degraded" if self.ready else "not ready"


@click.command("status")
def command() -> int:
    """Show what the server serves and how it is.

    Exit code: 0 healthy, 3 no server runs, 4 unhealthy.
    """
    try:
        server = connect(os.environ)
    except CommandFailed as error:
        click.echo(str(error))
        return error.code
    except CannotRenew as error:
        click.echo(f"A server runs, but a key has expired: {error}")
        return ExitCode.UNHEALTHY
    return show(server.record, server.inference, server.management)


def show(record: ServerRecord, inference: Api, management: Api) -> int:
    """Print the state of a server.

    Args:
        record: the server.
        inference: its inference API.
        management: its management API.

    Returns:
        The exit code.
    """
    try:
        health = _health(inference)
        models = list(_models(management))
    except CommandFailed as error:
        click.echo(f"Process {record.pid} runs, but refuses: {error}")
        return ExitCode.UNHEALTHY
    except NoAnswer as error:
        click.echo(f"Process {record.pid} runs, but {error}.")
        click.echo(f"If it has just been started, ask again; its log is in {record.working_dir}.")
        return ExitCode.UNHEALTHY
    click.echo(f"{health}: process {record.pid}, since {record.started_at}")
    click.echo(f"inference {record.inference}  management {record.management}", nl=False)
    click.echo(f"  metrics {record.metrics}" if record.metrics else "")
    for line in table(models):
        click.echo(line)
    return ExitCode.OK if health == "Healthy" else ExitCode.UNHEALTHY


def _health(inference: Api) -> str:
    status, body = inference.call("GET", "/ping")
    if status == 200:
        return "Healthy"
    return str(body.get("status") or body.get("message") or f"Unhealthy ({status})")


def _models(management: Api) -> Iterator[ModelStatus]:
    for name in model_names(management):
        yield from map(model_status, all_versions(management, name))


def model_status(described: Mapping[str, Any]) -> ModelStatus:
    """How a described version is."""
    workers = described.get("workers") or []
    return ModelStatus(
        name=described["modelName"],
        version=described["modelVersion"],
        ready=sum(worker.get("status") == "READY" for worker in workers),
        wanted=described.get("minWorkers", len(workers)),
        queued=(described.get("jobQueueStatus") or {}).get("pendingRequests"),
    )


def table(models: Sequence[ModelStatus]) -> list[str]:
    """The models as aligned lines under headings."""
    if not models:
        return ["No models are loaded."]
    rows = [
        _HEADINGS,
        *(
            (
                model.name,
                model.version,
                model.state,
                f"{model.ready}/{model.wanted}",
                "-" if model.queued is None else str(model.queued),
            )
            for model in models
        ),
    ]
    return aligned(rows)
