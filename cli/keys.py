"""The keys of a running server, for the commands that talk to it.

They are in the file that it left in its working folder; fixed ones are where the operator put
them: in the environment or in ``keys_file``.
"""

from __future__ import annotations

import datetime
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Protocol

from tsl.frontend.key_file import KEY_FILE_NAME, KEY_NAMES, read_keys_file
from tsl.protocol.errors import ConfigError

from .api_client import ApiClient, NoAnswer
from .pidfile import ServerRecord

_VARIABLES: Final = {
    "inference": "TSL_INFERENCE_KEY",
    "management": "TSL_MANAGEMENT_KEY",
    "API": "TSL_API_KEY",
}


class CannotRenew(Exception):
    """The server did not make a new key; the text says why."""


class Api(Protocol):
    """What renewing needs of the management API; replaced by a fake in tests."""

    def get(self, path: str) -> tuple[int, Any]:
        """Status and JSON of ``GET path``; raises `NoAnswer`."""


@dataclass(frozen=True, slots=True)
class KnownKey:
    """A key as somebody on this machine finds it.

    Attributes:
        text: the key.
        expires_at: when it expires; None if never.
    """

    text: str
    expires_at: datetime.datetime | None = None

    @property
    def has_expired(self) -> bool:
        """Whether the server refuses it by now."""
        return self.expires_at is not None and datetime.datetime.now(datetime.UTC) > self.expires_at


def read_keys(record: ServerRecord, environ: Mapping[str, str]) -> dict[str, KnownKey]:
    """Keys by name.

    Args:
        record: the server.
        environ: environment variables.

    Returns:
        Empty when the server runs without tokens, or belongs to somebody else.
    """
    if not record.needs_token:
        return {}
    given = _fixed_in_file(record.keys_file)
    given |= {name: environ[key] for name, key in _VARIABLES.items() if environ.get(key)}
    return _generated(Path(record.working_dir)) | {
        name: KnownKey(text) for name, text in given.items()
    }


def _fixed_in_file(keys_file: str) -> dict[str, str]:
    try:
        return read_keys_file(Path(keys_file)) if keys_file else {}
    except ConfigError:
        return {}  # not for us to read; the server could


def _generated(working_dir: Path) -> dict[str, KnownKey]:
    try:
        content = json.loads((working_dir / KEY_FILE_NAME).read_text(encoding="utf-8"))
        return {name: _known(content[name]) for name in KEY_NAMES if name in content}
    except (OSError, ValueError, TypeError, KeyError):
        return {}


def _known(entry: Mapping[str, str]) -> KnownKey:
    text, expires = entry["key"], entry.get("expiration time")
    return KnownKey(text, datetime.datetime.fromisoformat(expires) if expires else None)


def management_client(record: ServerRecord, keys: Mapping[str, KnownKey]) -> ApiClient:
    """A client that may renew keys."""
    return ApiClient(record.management, keys["API"].text if "API" in keys else None)


def renew(management: Api, name: str) -> str:
    """Have a new key made.

    Args:
        management: the management API, with the API key.
        name: ``inference`` or ``management``.

    Raises:
        CannotRenew: the server did not.
    """
    try:
        status, answer = management.get(f"/token?type={name}")
    except NoAnswer as error:
        raise CannotRenew(str(error)) from error
    if status != 200:
        raise CannotRenew(str(answer.get("message", status)))
    return str(answer["key"])


def usable_key(record: ServerRecord, keys: Mapping[str, KnownKey], name: str) -> str | None:
    """A key that the server takes now: one that has expired is renewed first.

    Nobody else can use an expired key any more, so nobody is locked out by that.

    Raises:
        CannotRenew: it has expired and cannot be renewed.
    """
    key = keys.get(name)
    if key is None:
        return None
    return renew(management_client(record, keys), name) if key.has_expired else key.text
