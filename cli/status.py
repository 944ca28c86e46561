"""``tsl status``: ask the running server what it serves and how it is."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, Protocol
from urllib.parse import quote, urlencode

import click

from .api_client import ApiClient, NoAnswer
from .exit_codes import ExitCode
from .keys import CannotRenew, read_keys, usable_key
from .pidfile import ServerRecord
from .running import NOT_RUNNING, pid_file_of
from .tables import aligned

_PAGE: Final = 100
_HEADINGS: Final = ("MODEL", "VERSION", "STATE", "WORKERS", "QUEUE")


class Api(Protocol):
    """What status needs of an API; replaced by a fake in tests."""

    def get(self, path: str) -> tuple[int, Any]:
        """Status and JSON of ``GET path``; raises `NoAnswer`."""


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
    record = pid_file_of(os.environ).read()
    if record is None:
        click.echo(NOT_RUNNING)
        return ExitCode.NOT_RUNNING
    keys = read_keys(record, os.environ)
    try:
        inference = ApiClient(record.inference, usable_key(record, keys, "inference"))
        management = ApiClient(record.management, usable_key(record, keys, "management"))
    except CannotRenew as error:
        click.echo(f"Process {record.pid} runs, but a key has expired: {error}")
        return ExitCode.UNHEALTHY
    return show(record, inference, management)


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
    status, body = inference.get("/ping")
    if status == 200:
        return "Healthy"
    return str(body.get("status") or body.get("message") or f"Unhealthy ({status})")


def _models(management: Api) -> Iterator[ModelStatus]:
    token: str | None = None
    while True:
        query = {"limit": str(_PAGE)} | ({"next_page_token": token} if token else {})
        page = _ok(management, f"/models?{urlencode(query)}")
        for model in page["models"]:
            versions = _ok(management, f"/models/{quote(model['modelName'], safe='')}/all")
            yield from map(_model_status, versions)
        token = page.get("nextPageToken")
        if not token:
            return


def _ok(api: Api, path: str) -> Any:
    status, body = api.get(path)
    if status != 200:
        reason = body.get("message") if isinstance(body, dict) else None
        msg = f"GET {path} is answered with {status}: {reason or 'no reason given'}"
        raise NoAnswer(msg)
    return body


def _model_status(described: Mapping[str, Any]) -> ModelStatus:
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
