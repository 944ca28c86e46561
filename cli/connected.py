"""What the commands that talk to a running server have in common: finding it, asking it, failing.

They use its public API only, with the keys that it has left for its own user.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, ParamSpec, Protocol
from urllib.parse import quote, urlencode

import click

from .api_client import ApiClient, NoAnswer
from .exit_codes import ExitCode
from .keys import CannotRenew, read_keys, usable_key
from .pidfile import ServerRecord
from .running import NOT_RUNNING, pid_file_of

P = ParamSpec("P")

PAGE: Final = 100
"""Models per page of the list; more are not given at a time."""


class Api(Protocol):
    """What commands need of an API; replaced by a fake in tests."""

    def call(self, method: str, path: str, *, is_long: bool = False) -> tuple[int, Any]:
        """Status and JSON of a request without a body; raises `NoAnswer`."""


class CommandFailed(Exception):
    """A command cannot do its work.

    Args:
        code: its exit code.
        lines: what happened, and what to do next.
    """

    def __init__(self, code: ExitCode, *lines: str) -> None:
        super().__init__("\n".join(lines))
        self.code: Final = code


@dataclass(frozen=True, slots=True)
class Connected:
    """A running server.

    Attributes:
        record: what is known about it.
        inference: its inference API.
        management: its management API.
        metrics: its metrics API; None when it is off.
    """

    record: ServerRecord
    inference: ApiClient
    management: ApiClient
    metrics: ApiClient | None


def connect(environ: Mapping[str, str]) -> Connected:
    """Find the server of the working folder.

    Raises:
        CommandFailed: none runs.
        CannotRenew: a key has expired, and there is no new one.
    """
    record = pid_file_of(environ).read()
    if record is None:
        raise CommandFailed(ExitCode.NOT_RUNNING, NOT_RUNNING)
    keys = read_keys(record, environ)
    return Connected(
        record,
        ApiClient(record.inference, usable_key(record, keys, "inference")),
        ApiClient(record.management, usable_key(record, keys, "management")),
        ApiClient(record.metrics, None) if record.metrics else None,
    )


def management() -> ApiClient:
    """The management API of the server of the working folder; raises as `connect` does."""
    return connect(os.environ).management


def reports_failures(work: Callable[P, int]) -> Callable[P, int]:
    """Turn the failures of a command into lines on stderr and an exit code."""

    @functools.wraps(work)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> int:
        try:
            return work(*args, **kwargs)
        except CommandFailed as error:
            click.echo(str(error), err=True)
            return error.code
        except NoAnswer as error:
            click.echo(f"A server runs, but {error}.", err=True)
            return ExitCode.UNHEALTHY
        except CannotRenew as error:
            click.echo(f"A server runs, but a key has expired: {error}", err=True)
            return ExitCode.UNHEALTHY

    return wrapped


def answer(api: Api, method: str, path: str, *, is_long: bool = False) -> Any:
    """The document of a request that must succeed.

    Args:
        api: the management API.
        method: of the request.
        path: with its query.
        is_long: the server may take as long as it needs.

    Raises:
        CommandFailed: the server refuses, in its own words.
        NoAnswer: it does not answer.
    """
    status, document = api.call(method, path, is_long=is_long)
    return _checked(f"{method} {path}", status, document)


def _checked(asked: str, status: int, document: Any) -> Any:
    if status < 300:
        return document
    reason = document.get("message") if isinstance(document, dict) else None
    raise CommandFailed(ExitCode.FAILED, str(reason or f"{asked} is answered with {status}."))


def model_path(name: str, version: str | None = None) -> str:
    """Path of a model in the management API."""
    path = f"/models/{quote(name, safe='')}"
    return f"{path}/{quote(version, safe='')}" if version else path


def query(**parameters: object) -> str:
    """A query string of those parameters that are given."""
    given = {key: value for key, value in parameters.items() if value is not None}
    return f"?{urlencode(given)}" if given else ""


def model_names(api: Api) -> list[str]:
    """Names of all models, page by page.

    Raises:
        CommandFailed, NoAnswer: as `answer`.
    """
    names: list[str] = []
    token: str | None = None
    while True:
        page = answer(api, "GET", f"/models{query(limit=PAGE, next_page_token=token)}")
        names += [model["modelName"] for model in page["models"]]
        token = page.get("nextPageToken")
        if not token:
            return names


def all_versions(api: Api, name: str) -> list[dict[str, Any]]:
    """Descriptions of all versions of a model; none of one that has gone meanwhile.

    Raises:
        CommandFailed, NoAnswer: as `answer`.
    """
    path = f"{model_path(name)}/all"
    status, document = api.call("GET", path)
    found: list[dict[str, Any]] = [] if status == 404 else _checked(f"GET {path}", status, document)
    return found


def default_version(api: Api, name: str, versions: list[dict[str, Any]]) -> str:
    """Which of its versions a model answers with."""
    if len(versions) == 1:
        return str(versions[0]["modelVersion"])
    status, document = api.call("GET", model_path(name))
    return str(document[0]["modelVersion"]) if status == 200 else ""
