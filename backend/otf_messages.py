"""The messages between TorchServe's server and its workers, for tests of handlers that read them.

tsl itself does not speak this: its workers use `tsl.protocol`. All numbers are signed 32-bit
integers in network order; a text is its length and its bytes; lists end with `END_OF_LIST`.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Mapping, Sequence
from typing import Any, Final, Protocol

from tsl.protocol.errors import InvalidOutput
from tsl.protocol.frames import Part, Row

from .encoding import UNSUPPORTED, encode_element
from .rows import decode_row

LOAD_MSG: Final = b"L"
PREDICT_MSG: Final = b"I"
END_OF_LIST: Final = -1
END_OF_REQUESTS: Final = -1
STREAM_HEADER: Final = "ts_stream_next"
FAILED: Final = b"error"
UNSUPPORTED_CODE: Final = 503
MAX_BYTES: Final = 2**31 - 1

_INT: Final = struct.Struct("!i")


class Readable(Protocol):
    """What a message is read from: a connected socket."""

    def recv(self, size: int, /) -> bytes:
        """Up to so many bytes; none at the end of the connection."""


def encode_response_headers(resp_hdr_map: Mapping[str, str]) -> bytearray:
    """Headers: their number, then name and value of each."""
    message = bytearray(_INT.pack(len(resp_hdr_map)))
    for name, value in resp_hdr_map.items():
        message += _text(name) + _text(value)
    return message


def create_predict_response(
    ret: Sequence[Any] | None,
    req_id_map: Mapping[int, str],
    message: str,
    code: int,
    context: Any = None,
    ts_stream_next: bool = False,
) -> bytearray:
    """The answer to a batch.

    Args:
        ret: one value for each row; None when the batch has failed.
        req_id_map: index of the row → request id.
        message: how it went.
        code: status of the whole batch.
        context: has status and headers of each row; may be None.
        ts_stream_next: whether more is to come.
    """
    values = _encoded(ret, req_id_map)
    if values is None:
        return create_predict_response(None, req_id_map, UNSUPPORTED, UNSUPPORTED_CODE, context)
    result = bytearray(_INT.pack(code) + _text(message))
    for index, request_id in req_id_map.items():
        result += _text(request_id)
        if context is None:
            result += _text("") + _INT.pack(code) + _text("") + encode_response_headers({})
        else:
            _mark_stream(context, index, None if ret is None else ret[index], ts_stream_next)
            status, phrase = context.get_response_status(index)
            result += _text(context.get_response_content_type(index) or "")
            result += _INT.pack(status or code) + _text(phrase or "")
            result += encode_response_headers(context.get_response_headers(index))
        result += _INT.pack(len(values[index])) + values[index]
    return result + _INT.pack(END_OF_LIST)


def _encoded(ret: Sequence[Any] | None, req_id_map: Mapping[int, str]) -> dict[int, bytes] | None:
    """The values as bytes; None when one of them has no encoding."""
    if ret is None:
        return dict.fromkeys(req_id_map, FAILED)
    try:
        return {index: bytes(encode_element(ret[index], MAX_BYTES)) for index in req_id_map}
    except InvalidOutput:
        return None


def _mark_stream(context: Any, index: int, value: Any, has_next: bool) -> None:
    """Say in a header of the row whether more is to come."""
    criteria = getattr(context, "stopping_criteria", None)
    if has_next:
        context.set_response_header(index, STREAM_HEADER, "true")
    elif criteria:
        is_over = criteria[index](value)
        if is_over is not None:
            context.set_response_header(index, STREAM_HEADER, "false" if is_over else "true")
    elif context.get_response_headers(index).get(STREAM_HEADER) == "true":
        context.set_response_header(index, STREAM_HEADER, "false")


def create_load_model_response(code: int, message: str) -> bytearray:
    """The answer to the order to load a model."""
    return bytearray(_INT.pack(code) + _text(message) + _INT.pack(END_OF_LIST))


def retrieve_msg(conn: Readable) -> tuple[bytes, Any]:
    """Read one message of a server.

    Args:
        conn: the connection.

    Returns:
        `LOAD_MSG` and a dict, or `PREDICT_MSG` and a list of requests.

    Raises:
        ValueError: it is no such message.
        EOFError: the connection ended.
    """
    command = bytes(_read(conn, 1))
    if command == PREDICT_MSG:
        return command, _requests(conn)
    if command == LOAD_MSG:
        return command, _load(conn)
    msg = f"a message of an unknown kind {command!r}"
    raise ValueError(msg)


def _load(conn: Readable) -> dict[str, Any]:
    found: dict[str, Any] = {"modelName": _field(conn), "modelPath": _field(conn)}
    found["batchSize"] = _number(conn)
    found["handler"] = _field(conn)
    gpu = _number(conn)
    if gpu >= 0:
        found["gpu"] = gpu
    found["envelope"] = _field(conn)
    found["limitMaxImagePixels"] = bool(_read(conn, 1)[0])
    return found


def _requests(conn: Readable) -> list[dict[str, Any]]:
    requests = []
    length = _number(conn)
    while length != END_OF_REQUESTS:
        request: dict[str, Any] = {"requestId": _read(conn, length)}
        request.update(headers=[], parameters=[])
        while (size := _number(conn)) != END_OF_LIST:
            request["headers"].append({"name": _read(conn, size), "value": _field(conn)})
        while (size := _number(conn)) != END_OF_LIST:
            part = Part(_read(conn, size).decode(), _field(conn).decode(), _field(conn))
            value = decode_row(Row("", [], [], [part]), decode_input=_decodes())[part.name]
            request["parameters"].append(
                {"name": part.name, "contentType": part.content_type, "value": value}
            )
        requests.append(request)
        length = _number(conn)
    return requests


def _decodes() -> bool:
    return os.environ.get("TS_DECODE_INPUT_REQUEST", "true") == "true"


def _text(text: str) -> bytes:
    data = text.encode()
    return _INT.pack(len(data)) + data


def _field(conn: Readable) -> bytearray:
    return _read(conn, _number(conn))


def _number(conn: Readable) -> int:
    number: int = _INT.unpack(_read(conn, _INT.size))[0]
    return number


def _read(conn: Readable, size: int) -> bytearray:
    if size < 0:
        msg = f"a length of {size}"
        raise ValueError(msg)
    data = bytearray()
    while len(data) < size:
        part = conn.recv(size - len(data))
        if not part:
            raise EOFError("the connection ended inside of a message")
        data += part
    return data
