"""``tsl register``, ``scale``, ``unregister`` and ``set-default``: change what is served."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from typing import Any

import click

from tsl.model_store import BATCH_POLICIES

from .connected import answer, management, model_path, query, reports_failures
from .exit_codes import ExitCode

_COUNT = click.IntRange(min=0)


@click.command("register")
@click.argument("url")
@click.option("--name", help="Name to serve it under; default: the one in the archive.")
@click.option("--handler", help="Handler; default: the one in the archive.")
@click.option("--runtime", help="Runtime; default: the one in the archive.")
@click.option("--workers", type=_COUNT, help="Workers to start.")
@click.option("--batch-size", type=click.IntRange(min=1), help="Requests per batch at most.")
@click.option("--max-batch-delay", type=_COUNT, help="Milliseconds a batch may wait.")
@click.option("--batch-policy", type=click.Choice(BATCH_POLICIES), help="How batches are made.")
@click.option("--response-timeout", type=click.IntRange(min=1), help="Seconds for an answer.")
@click.option("--startup-timeout", type=click.IntRange(min=1), help="Seconds for loading.")
@click.option("--no-wait", is_flag=True, help="Do not wait for the workers.")
@reports_failures
def register(url: str, name: str | None, no_wait: bool, workers: int | None, **given: Any) -> int:
    """Serve another model: URL is an archive or folder of the model store, or a URL."""
    asked = query(
        url=url,
        model_name=name,
        initial_workers=workers,
        synchronous="false" if no_wait else "true",
        **given,
    )
    return _change("POST", f"/models{asked}", f"Loading {name or url}")


@click.command("scale")
@click.argument("model")
@click.argument("workers", type=_COUNT)
@click.option("--max", "max_workers", type=_COUNT, help="Workers at most; default: WORKERS.")
@click.option("--version", help="Version; default: the default version.")
@click.option("--no-wait", is_flag=True, help="Do not wait for the workers.")
@reports_failures
def scale(
    model: str, workers: int, max_workers: int | None, version: str | None, no_wait: bool
) -> int:
    """Give a model so many WORKERS; 0 stops them all."""
    asked = query(
        min_worker=workers,
        max_worker=max_workers,
        synchronous="false" if no_wait else "true",
    )
    path = f"{model_path(model, version)}{asked}"
    return _change("PUT", path, f"Scaling {model} to {workers} workers")


@click.command("unregister")
@click.argument("model")
@click.argument("version", required=False)
@reports_failures
def unregister(model: str, version: str | None) -> int:
    """Stop serving a model: its default version, or the given VERSION."""
    return _change("DELETE", model_path(model, version), f"Stopping {model}")


@click.command("set-default")
@click.argument("model")
@click.argument("version")
@reports_failures
def set_default(model: str, version: str) -> int:
    """Answer requests without a version with VERSION."""
    return _change("PUT", f"{model_path(model, version)}/set-default", "Setting the default")


def _change(method: str, path: str, doing: str) -> int:
    api = management()
    with _shown(f"{doing} ..."):
        document = answer(api, method, path, is_long=True)
    click.echo(document["status"])
    return ExitCode.OK


@contextlib.contextmanager
def _shown(text: str) -> Iterator[None]:
    """Show that something goes on, where somebody watches; workers may load for minutes."""
    if not sys.stderr.isatty():
        yield
        return
    from rich.console import Console  # only a terminal pays for importing it

    with Console(stderr=True).status(text):
        yield
