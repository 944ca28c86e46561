"""Who may do what: keys, and the decision whether a caller has shown the right one.

Nothing here knows of HTTP. A caller shows ``Bearer KEY``, the value of an HTTP header or of gRPC
metadata; `Authorizer.check` lets it pass or raises the `TslError` to answer with. There is one
key for each `Permission`, and none of them opens what belongs to another (config-and-cli,
section 9).

A key is compared in a time that does not depend on where it differs, and no text that leaves this
module, neither a message nor a log line, holds one.
"""

from __future__ import annotations

import datetime
import logging
import math
import re
import secrets
import time
from collections.abc import Callable, Mapping
from enum import StrEnum
from functools import partial
from hmac import compare_digest
from typing import Any, Final, Protocol

from tsl.protocol.errors import Conflict, InvalidTokenRequest, Unauthorized, WrongKey

logger = logging.getLogger(__name__)

KEY_BYTES: Final = 24
"""Random bytes of a key that is made here: 192 bits, 32 characters."""
REPORT_EVERY_S: Final = 1.0
"""At most one line about refused callers per so many seconds: the log must not be theirs to fill."""

_BEARER: Final = re.compile(rb"bearer[ \t]+(\S+)", re.IGNORECASE)


class Permission(StrEnum):
    """What a key is for; the values are the names in the key file."""

    INFERENCE = "inference"
    MANAGEMENT = "management"
    RENEWAL = "API"


RENEWABLE: Final = (Permission.MANAGEMENT, Permission.INFERENCE)


class AuthStats(Protocol):
    """Counts callers that were refused."""

    def refused(self, permission: str, reason: str) -> None:
        """Somebody was refused.

        Args:
            permission: which key was needed.
            reason: ``missing``, ``malformed``, ``unknown``, ``expired`` or ``wrong key``.
        """


elapsed_s: Final = partial(time.clock_gettime, time.CLOCK_BOOTTIME)
"""Seconds on a clock that nobody sets, and that goes on while the machine sleeps."""


class Key:
    """One key.

    Args:
        text: the key.
        expires_at: on the clock of `elapsed_s`; infinite for one that does not.
        shown_expiry: the same moment for people, in seconds since the epoch, as the clock was
            when the key was made.
        is_fixed: whether the operator chose it.

    Attributes:
        is_current: whether no other key has taken its place.
    """

    __slots__ = ("expires_at", "header", "is_current", "is_fixed", "shown_expiry", "text")

    def __init__(
        self,
        text: str,
        expires_at: float = math.inf,
        shown_expiry: float = math.inf,
        *,
        is_fixed: bool = False,
    ) -> None:
        self.text = text
        self.shown_expiry = shown_expiry
        self.header = b"Bearer " + text.encode("ascii")
        self.expires_at = expires_at
        self.is_fixed = is_fixed
        self.is_current = True

    def document(self) -> dict[str, str]:
        """The key as the key file has it."""
        if math.isinf(self.shown_expiry):
            return {"key": self.text}
        expires = datetime.datetime.fromtimestamp(self.shown_expiry, datetime.UTC)
        return {"key": self.text, "expiration time": expires.isoformat().replace("+00:00", "Z")}


class Authorizer:
    """The keys of a running server.

    Args:
        lifetime_s: how long inference and management keys are good for; the key that renews them
            does not expire, and neither do fixed ones.
        fixed: keys that the operator chose; the others are made here.
        save: stores the present keys (see `document`) where their owner can read them; raises
            `OSError` when that fails.
        stats: counts refused callers.
        now: seconds since the epoch, for the key file.
        elapsed: seconds on a clock that nobody sets: a key lives as long as it was made for, also
            when the time of day is corrected.
    """

    def __init__(
        self,
        *,
        lifetime_s: float,
        fixed: Mapping[Permission, str],
        save: Callable[[Mapping[str, Any]], None],
        stats: AuthStats,
        now: Callable[[], float] = time.time,
        elapsed: Callable[[], float] = elapsed_s,
    ) -> None:
        self._lifetime_s = lifetime_s
        self._save = save
        self._stats = stats
        self._now = now
        self._elapsed = elapsed
        self._quiet_until = -math.inf
        self._unreported = 0
        self._keys = {
            permission: Key(fixed[permission], is_fixed=True)
            if permission in fixed
            else self._new(permission)
            for permission in Permission
        }

    def publish(self) -> bool:
        """Store the keys, unless the operator has chosen all that a caller needs.

        Returns:
            Whether they were stored.

        Raises:
            OSError: they cannot be.
        """
        if all(self._keys[permission].is_fixed for permission in RENEWABLE):
            return False
        self._save(self._document(self._keys))
        return True

    def check(self, authorization: bytes, permission: Permission, client: bytes = b"") -> Key:
        """Let a caller pass that shows the key for something.

        Args:
            authorization: ``Bearer KEY``; empty when nothing was shown.
            permission: what the caller wants.
            client: who that is, for the log.

        Returns:
            The key. Whoever shows the same again may pass without being asked, while the key
            `is_good`.

        Raises:
            Unauthorized: the key is missing, wrong or expired.
            WrongKey: it is a key of this server, for something else.
        """
        key = self._keys[permission]
        # The usual spelling of the right key: one comparison, nothing taken apart.
        if compare_digest(authorization, key.header) and self._elapsed() < key.expires_at:
            return key
        refusal = self._refusal(authorization, permission)
        if refusal is not None:
            self._note(permission, refusal[0], client)
            raise refusal[1]
        return key

    def is_good(self, key: Key) -> bool:
        """Whether a key still opens what it is for."""
        return key.is_current and self._elapsed() < key.expires_at

    def check_any(self, authorization: bytes, permissions: tuple[Permission, ...]) -> None:
        """Let a caller pass that shows one of several keys.

        Raises:
            Unauthorized, WrongKey: it does not.
        """
        for permission in permissions[:-1]:
            if self._refusal(authorization, permission) is None:
                return
        self.check(authorization, permissions[-1])

    def renew(self, name: str) -> dict[str, str]:
        """Replace a key; the old one is refused from now on.

        Args:
            name: ``inference`` or ``management``.

        Returns:
            The new key, as the key file has it.

        Raises:
            InvalidTokenRequest: no such key.
            Conflict: it is fixed.
            OSError: the new key cannot be stored; the old one stays good.
        """
        permission = next((each for each in RENEWABLE if each == name), None)
        if permission is None:
            raise InvalidTokenRequest(
                "The parameter type does not name a key.",
                hint="/token?type=inference or /token?type=management makes a new one.",
            )
        if self._keys[permission].is_fixed:
            raise Conflict(
                f"The {permission} key is fixed by the configuration.",
                hint="Change it there, and start the server again.",
            )
        keys = {**self._keys, permission: self._new(permission)}
        self._save(self._document(keys))
        self._keys[permission].is_current = False
        self._keys = keys
        logger.info("There is a new %s key", permission)
        return keys[permission].document()

    def _new(self, permission: Permission) -> Key:
        text = secrets.token_urlsafe(KEY_BYTES)
        if permission not in RENEWABLE:
            return Key(text)
        return Key(text, self._elapsed() + self._lifetime_s, self._now() + self._lifetime_s)

    @staticmethod
    def _document(keys: Mapping[Permission, Key]) -> dict[str, Any]:
        """The keys as the key file has them, in TorchServe's order; fixed ones are left out."""
        order = (*RENEWABLE, Permission.RENEWAL)
        return {name: keys[name].document() for name in order if not keys[name].is_fixed}

    def _refusal(
        self, authorization: bytes, permission: Permission
    ) -> tuple[str, Unauthorized] | None:
        """Why a caller is refused, and the answer; None if it is not."""
        if not authorization:
            return "missing", Unauthorized(
                hint=f"This needs the header Authorization: Bearer KEY with the {permission} key."
            )
        found = _BEARER.fullmatch(authorization)
        if found is None:
            return "malformed", Unauthorized(
                hint="The header Authorization is not of the form: Bearer KEY."
            )
        shown = b"Bearer " + found[1]
        key = self._keys[permission]
        if compare_digest(shown, key.header):
            if self._elapsed() < key.expires_at:
                return None
            return "expired", Unauthorized(
                hint=f"This key has expired; /token?type={permission} on the management port "
                "makes a new one for the API key."
            )
        if any(compare_digest(shown, other.header) for other in self._keys.values()):
            return "wrong key", WrongKey(
                hint=f"This is another key; here the {permission} key counts."
            )
        return "unknown", Unauthorized(hint="No such key is known; it may have been replaced.")

    def _note(self, permission: Permission, reason: str, client: bytes) -> None:
        self._stats.refused(permission, reason)
        now = self._elapsed()
        if now < self._quiet_until:
            self._unreported += 1
            return
        more = f", and {self._unreported} before it" if self._unreported else ""
        logger.warning(
            "Refused %s: the token for %s is %s%s",
            client.decode("latin-1") or "a client",
            permission,
            "that of something else" if reason == "wrong key" else reason,
            more,
        )
        self._unreported = 0
        self._quiet_until = now + REPORT_EVERY_S
