"""How bodies travel to servers that do not take plain bytes."""

from __future__ import annotations

import base64
import json
import struct
from collections.abc import Callable
from typing import Final

HEAD_SIZE: Final = 256
"""Bytes of the JSON before binary tensors: filled up with spaces, so that one header says it."""


def json_text(body: bytes) -> bytes:
    """``{"body": "…"}``: text as it is."""
    return json.dumps({"body": body.decode()}).encode()


def json_base64(body: bytes) -> bytes:
    """``{"body": "…"}``: base64."""
    return json.dumps({"body": base64.b64encode(body).decode()}).encode()


def json_list(encode: Callable[[bytes], bytes]) -> Callable[[bytes], bytes]:
    """``{"body": ["…"]}`` around one of the above, for a server that gathers lists."""

    def encode_list(body: bytes) -> bytes:
        return json.dumps({"body": [json.loads(encode(body))["body"]]}).encode()

    return encode_list


def from_json_list(answer: bytes) -> bytes:
    """The only item of a list of texts."""
    (item,) = json.loads(answer)
    return str(item).encode()


def from_json_text(answer: bytes) -> bytes:
    """The inverse of `json_text`."""
    return str(json.loads(answer)["body"]).encode()


def tensor_text(body: bytes) -> bytes:
    """A request of the Open Inference Protocol with one text."""
    return _tensor_json(body.decode())


def tensor_base64(body: bytes) -> bytes:
    """The same with base64."""
    return _tensor_json(base64.b64encode(body).decode())


def _tensor_json(text: str) -> bytes:
    tensor = {"name": "INPUT0", "shape": [1, 1], "datatype": "BYTES", "data": [text]}
    return json.dumps({"inputs": [tensor]}).encode()


def from_tensor_text(answer: bytes) -> bytes:
    """The first text of the first output."""
    return str(json.loads(answer)["outputs"][0]["data"][0]).encode()


def tensor_binary(body: bytes) -> bytes:
    """A request of the Open Inference Protocol with one item of bytes behind `HEAD_SIZE` of JSON."""
    item = struct.pack("<I", len(body)) + body
    return binary_request("BYTES", [1, 1], item)


def binary_request(datatype: str, shape: list[int], values: bytes) -> bytes:
    """A request with one binary tensor in, and one out."""
    tensor = {
        "name": "INPUT0",
        "shape": shape,
        "datatype": datatype,
        "parameters": {"binary_data_size": len(values)},
    }
    output = {"name": "OUTPUT0", "parameters": {"binary_data": True}}
    head = json.dumps({"inputs": [tensor], "outputs": [output]}).encode()
    assert len(head) <= HEAD_SIZE
    return head.ljust(HEAD_SIZE) + values


def binary_values(answer: bytes) -> bytes:
    """What follows the JSON of a binary response.

    The JSON's length is in a header of the response; its end can be seen as well.
    """
    document, end = json.JSONDecoder().raw_decode(answer.decode("latin-1"))
    size = document["outputs"][0]["parameters"]["binary_data_size"]
    values = answer[end:]
    if len(values) != size:
        raise ValueError(f"{len(values)} bytes instead of {size}")
    return values


def from_tensor_binary(answer: bytes) -> bytes:
    """The inverse of `tensor_binary`."""
    values = binary_values(answer)
    (size,) = struct.unpack_from("<I", values)
    if len(values) != size + 4:
        raise ValueError(f"{len(values)} bytes with an item of {size}")
    return values[4:]
