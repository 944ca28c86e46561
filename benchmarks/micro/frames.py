"""What should a frame be? Build, read and unpack a reply in each form a class can have."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from operator import attrgetter
from typing import NamedTuple

from .timing import print_times


class Tuple(NamedTuple):
    """Immutable, as `tsl.protocol.frames` has it."""

    status: int
    phrase: str
    headers: list[str]
    error: str
    body: bytes


@dataclass(frozen=True, slots=True)
class Frozen:
    """Immutable."""

    status: int
    phrase: str
    headers: list[str]
    error: str
    body: bytes


@dataclass(slots=True)
class Slotted:
    """Mutable."""

    status: int
    phrase: str
    headers: list[str]
    error: str
    body: bytes


def main() -> None:
    """Print the times per object."""
    calls: dict[str, Callable[[], object]] = {}
    headers: list[str] = []
    fields: tuple[int, str, list[str], str, bytes] = (0, "", headers, "", b"")
    whole = Tuple(*fields)
    for name, cls in (
        ("NamedTuple", Tuple),
        ("frozen slotted dataclass", Frozen),
        ("slotted dataclass", Slotted),
    ):
        calls[f"{name}: build"] = partial(cls, *fields)
        calls[f"{name}: read two fields"] = partial(attrgetter("status", "body"), cls(*fields))
    calls["NamedTuple: unpack"] = lambda: _unpack(whole)
    calls["NamedTuple: build from a tuple"] = lambda: Tuple(*fields)
    calls["frozen slotted dataclass: build from a tuple"] = lambda: Frozen(*fields)
    calls["empty call"] = lambda: None
    print_times("one reply", calls)


def _unpack(reply: Tuple) -> int:
    status, _phrase, _headers, _error, _body = reply
    return status


if __name__ == "__main__":
    main()
