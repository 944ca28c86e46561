"""What a workflow answers, made of the outputs of its leaves."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable
from typing import Final

from tsl.protocol.frames import Buffer, Reply

JSON_TYPE: Final = "application/json"


def answer_of(outputs: list[tuple[str, Reply]]) -> Reply:
    """The answer of a workflow.

    Args:
        outputs: name and output of each leaf, in the order of the specification.

    Returns:
        The bytes of the one leaf, unchanged; with several, a JSON object of all. The status is 200
        and the content type JSON, which is TorchServe's; but where the one leaf has set a content
        type, it is that: TorchServe called a picture JSON, too.
    """
    if len(outputs) > 1:
        return _reply(_merged(outputs), JSON_TYPE)
    reply = outputs[0][1]
    return _reply(reply.body, _content_type(reply.headers) or JSON_TYPE)


def _reply(body: Buffer, content_type: str) -> Reply:
    return Reply(200, "", ["content-type", content_type], "", body)


def _content_type(headers: list[str]) -> str:
    """What the node has set; the last one counts."""
    found = ""
    for name, value in zip(headers[::2], headers[1::2], strict=True):
        if name.lower() == "content-type":
            found = value
    return found


def _merged(outputs: Iterable[tuple[str, Reply]]) -> bytes:
    members = (f"  {json.dumps(name)}: ".encode() + _json(reply.body) for name, reply in outputs)
    return b"{\n" + b",\n".join(members) + b"\n}\n"


def _json(body: Buffer) -> bytes:
    """An output as a JSON value.

    JSON stands as it is, text becomes a string, and other bytes what KServe writes for them:
    ``{"b64": "…"}``.
    """
    data = bytes(body)
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        return json.dumps({"b64": base64.b64encode(data).decode("ascii")}).encode()
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return json.dumps(text).encode()
    return data
