"""Server-Sent Events (HTML Living Standard, section 9.2): model output as an event stream."""

from __future__ import annotations

from typing import Final

from tsl.protocol.frames import Buffer

MEDIA_TYPE: Final = "text/event-stream"
CONTENT_TYPE: Final = b"content-type: text/event-stream; charset=utf-8\r\n"


def is_wanted(accept: bytes) -> bool:
    """Whether a client asks for events before anything else."""
    first = accept.partition(b",")[0].partition(b";")[0]
    return first.strip().lower() == MEDIA_TYPE.encode("ascii")


def encode_event(data: Buffer, event: str = "") -> bytes:
    """One event.

    Args:
        data: its data; each line of it becomes a ``data:`` line.
        event: event type, "" for the default one.
    """
    text = bytes(data).replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    lines = b"".join(b"data: %s\n" % line for line in text.split(b"\n"))
    head = f"event: {event}\n".encode("ascii") if event else b""
    return head + lines + b"\n"
