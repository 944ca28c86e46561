"""Requests that are nothing but the bytes of a tensor: ``Inference-Header-Content-Length: 0``.

The model's declaration says what they are. From here on such a request is one with a document.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any, Final

from tsl.protocol.errors import InvalidRequest
from tsl.protocol.tensors import ITEM_SIZES, join_bytes

_DECLARE: Final = "Declare one input with one dimension of any size, or send a JSON document."


def with_document(
    declared: Sequence[Mapping[str, Any]], body: bytes | bytearray
) -> tuple[int, bytes]:
    """Put a JSON document before a tensor.

    Args:
        declared: ``inputs`` of the model's ``model-config.yaml``.
        body: the bytes; of ``BYTES`` one element, without its size.

    Returns:
        Bytes of the document; document and bytes. Outputs are asked for as
        bytes.

    Raises:
        InvalidRequest: the declaration does not say what the bytes are, or they do not fit it.
    """
    if len(declared) != 1:
        raise InvalidRequest(
            f"A request without a JSON document is for models with one declared input; this one has "
            f"{len(declared)}.",
            hint=_DECLARE,
        )
    name, datatype, shape = (declared[0][key] for key in ("name", "datatype", "shape"))
    if datatype == "BYTES":
        body = join_bytes([bytes(body)])
        shape = _filled(name, shape, 1)
    else:
        count, rest = divmod(len(body), ITEM_SIZES[datatype])
        if rest:
            msg = f"Input {name!r} has {len(body)} bytes, which are no whole number of {datatype}."
            raise InvalidRequest(msg)
        shape = _filled(name, shape, count)
    tensor = {
        "name": name,
        "datatype": datatype,
        "shape": shape,
        "parameters": {"binary_data_size": len(body)},
    }
    document = {"inputs": [tensor], "parameters": {"binary_data_output": True}}
    header = json.dumps(document).encode("utf-8", "replace")
    return len(header), header + body


def _filled(name: str, shape: Sequence[int], count: int) -> list[int]:
    """The shape with its open dimension."""
    known = math.prod(size for size in shape if size != -1)
    if shape.count(-1) == 1 and known and count % known == 0:
        return [count // known if size == -1 else size for size in shape]
    if -1 not in shape and known == count:
        return list(shape)
    msg = f"{count} values of input {name!r} do not say its shape, which is declared as "
    raise InvalidRequest(f"{msg}{list(shape)}.", hint=_DECLARE)
