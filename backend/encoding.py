"""One element of a handler's result to the bytes of an answer."""

from __future__ import annotations

import io
import sys
from typing import Any, Final

from tsl.protocol.errors import InvalidOutput, ResponseTooLarge
from tsl.protocol.frames import Buffer

from .indented_json import to_json

UNSUPPORTED: Final = "Unsupported model output data type."


def encode_element(value: Any, max_bytes: int) -> Buffer:
    """Serialise what a handler answers to one request.

    Bytes stay as they are and are not copied, text becomes UTF-8, a tensor what ``torch.save``
    writes, everything else JSON with an indent of two.

    Args:
        value: one element of the result list, or one intermediate value.
        max_bytes: the size an answer may have at most.

    Raises:
        InvalidOutput: the value has no encoding.
        ResponseTooLarge: the encoded value has more than ``max_bytes`` bytes.
        MemoryError: there was no room for the encoded value.
    """
    body: Buffer = value.encode() if type(value) is str and value.isascii() else _encode(value)
    if len(body) > max_bytes:
        msg = f"The answer of the model has {len(body)} bytes, max_response_size is {max_bytes}."
        raise ResponseTooLarge(msg, hint="Raise max_response_size, or let the handler stream.")
    return body


def _encode(value: Any) -> Buffer:
    if isinstance(value, (bytes, bytearray)):
        return value
    try:
        if isinstance(value, str):
            return value.encode()
        if isinstance(value, memoryview):
            return value.tobytes()  # any item size, any strides
        if _is_tensor(value):
            return _save_tensor(value)
        return to_json(value).encode()
    except MemoryError:
        raise
    # Serialising runs methods of the handler's own types, so any exception can come out of it;
    # it concerns this one element, not the batch.
    except Exception as error:
        raise InvalidOutput(UNSUPPORTED) from error


def _is_tensor(value: Any) -> bool:
    """Tell a tensor without importing torch: who made one has imported it."""
    tensor_type = getattr(sys.modules.get("torch"), "Tensor", None)
    return tensor_type is not None and isinstance(value, tensor_type)


def _save_tensor(value: Any) -> bytes:
    target = io.BytesIO()
    sys.modules["torch"].save(value, target)
    return target.getvalue()
