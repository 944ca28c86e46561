"""Messages of ``ModelInfer`` as bytes: those that are like an earlier one are not parsed again.

The messages of a client differ in the bytes of their tensors, and maybe in their id; all else is
the same: names, data types, shapes, parameters. So the message is cut into its fields, which takes no
more than their sizes, and the fields that stay the same lead to what was made of them before. The
answers of a model are alike in the same way. What is read and written here for the first time, and
all that is special, goes through protobuf (`tensor_messages`).
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from typing import Any, Final, NamedTuple

from tsl.protocol.frames import Buffer, Part, new_part
from tsl.protocol.tensors import TENSORS_PART, TENSORS_TYPE, unframe

from .protos.open_inference_pb2 import ModelInferRequest, ModelInferResponse
from .tensor_messages import parameter_values, response_of

MAX_KEY_BYTES: Final = 1024
"""Messages with more than this beside their tensors are not remembered."""
MAX_REMEMBERED: Final = 1024
"""With these two the tables are bounded to a few megabytes, whatever clients send."""

_LENGTH_DELIMITED: Final = 2
_ID: Final = ModelInferRequest.ID_FIELD_NUMBER << 3 | _LENGTH_DELIMITED
_RAW_IN: Final = ModelInferRequest.RAW_INPUT_CONTENTS_FIELD_NUMBER << 3 | _LENGTH_DELIMITED
_RAW_OUT: Final = ModelInferResponse.RAW_OUTPUT_CONTENTS_FIELD_NUMBER << 3 | _LENGTH_DELIMITED


class KnownRequest(NamedTuple):
    """What was made of a message, all but its id and its tensors.

    Attributes:
        name: of the model.
        version: of the model, "" for the default one.
        parameters: of the request.
        document: the part of the row that says what the tensors are.
        sizes: bytes of each tensor.
    """

    name: str
    version: str
    parameters: dict[str, Any]
    document: Part
    sizes: list[int]


class InferRequest:
    """A message for ``ModelInfer``.

    Args:
        data: the message.
        key: the fields that later messages have, too; b"" when it cannot be told.
        request_id: the client's, "" for none; only with a key.
        tensors: ``raw_input_contents``; only with a key.
        known: what was made of an earlier message with this key, if the tensors fit that.

    Raises:
        google.protobuf.message.DecodeError: it is none.
    """

    __slots__ = ("_data", "_message", "key", "known", "request_id", "tensors")

    def __init__(
        self,
        data: bytes,
        key: bytes = b"",
        request_id: str = "",
        tensors: Sequence[bytes] = (),
        known: KnownRequest | None = None,
    ) -> None:
        self._data = data
        self._message = None if known else ModelInferRequest.FromString(data)
        self.key = key
        self.request_id = request_id
        self.tensors = tensors
        self.known = known

    @property
    def message(self) -> ModelInferRequest:
        """The message, parsed."""
        if self._message is None:
            self._message = ModelInferRequest.FromString(self._data)
        return self._message


class InferRequests:
    """Reads messages for ``ModelInfer``; forgets all when it is full, and begins anew."""

    def __init__(self) -> None:
        self._known: dict[bytes, KnownRequest] = {}

    def read(self, data: bytes) -> InferRequest:
        """A message.

        Raises:
            google.protobuf.message.DecodeError: it is none.
        """
        fields = _cut(data)
        if fields is None:
            return InferRequest(data)
        key, request_id, tensors = fields
        known = self._known.get(key)
        if known is not None and known.sizes != [*map(len, tensors)]:
            known = None
        return InferRequest(data, key, request_id, tensors, known)

    def remember(self, request: InferRequest, parts: Sequence[Part]) -> None:
        """Note what was made of a message, if it says all about others that are like it.

        Args:
            request: without shared memory, and to a model that takes tensors.
            parts: of its row.
        """
        message, key = request.message, request.key
        if not key or len(key) > MAX_KEY_BYTES:
            return
        if any(each.datatype == "BYTES" for each in message.inputs):
            return  # elements have sizes of their own, which have to be looked at
        if len(self._known) >= MAX_REMEMBERED:
            self._known.clear()
        self._known[key] = KnownRequest(
            message.model_name,
            message.model_version,
            parameter_values(message.parameters),
            parts[0],
            [*map(len, request.tensors)],
        )


def parts_like(known: KnownRequest, tensors: Sequence[bytes]) -> list[Part]:
    """The parts of a row for a message that is known but for its tensors."""
    return [known.document, *[new_part((TENSORS_PART, TENSORS_TYPE, each)) for each in tensors]]


def _cut(data: bytes) -> tuple[bytes, str, list[bytes]] | None:
    """Fields that stay the same, id and tensors; None when protobuf has to look at it.

    All fields of the message are a tag of one byte, a size, and so many bytes. Tensors come last, as
    everybody writes them.
    """
    key, request_id = b"", ""
    tensors: list[bytes] = []
    at, size, kept = 0, len(data), 0
    try:
        while at < size:
            tag, length, start = data[at], data[at + 1], at + 2
            if length >= 0x80:
                length, start = _long_size(data, at + 1)
            end = start + length
            if end > size:
                return None
            if tag == _RAW_IN:
                if not tensors:
                    key += data[kept:at]
                tensors.append(data[start:end])
            elif tensors or tag & 0x87 != _LENGTH_DELIMITED:
                return None
            elif tag == _ID:
                if request_id:
                    return None
                request_id = data[start:end].decode()
                key += data[kept:at]
                kept = end
            at = end
    except (IndexError, ValueError):
        return None
    return (key, request_id, tensors) if tensors else None


def _long_size(data: bytes, at: int) -> tuple[int, int]:
    """A size of several bytes, the lowest seven bits first; and where it ends."""
    size = shift = 0
    while shift < 35:
        byte = data[at]
        at += 1
        size |= (byte & 0x7F) << shift
        if byte < 0x80:
            return size, at
        shift += 7
    raise ValueError


class _KnownAnswer(NamedTuple):
    """An answer without the model's name, the id, and the tensors.

    Attributes:
        request_id: in it, "" for none.
        fields: its other fields, encoded.
        tensors: for each, the encoded field up to its bytes, and their number.
        size: bytes of all tensors.
    """

    request_id: str
    fields: bytes
    tensors: list[tuple[bytes, int]]
    size: int


class InferAnswers:
    """Makes messages of framed answers to those who have sent bytes, and get them."""

    def __init__(self) -> None:
        self._known: dict[bytes, _KnownAnswer] = {}

    def message_of(self, body: Buffer, request_id: str, name: str, version: str) -> bytes:
        """The encoded message for an answer.

        Args:
            body: of the worker's answer.
            request_id: the client's, "" for none.
            name: of the model.
            version: of the model.

        Raises:
            InvalidOutput: the answer is no answer of this protocol.
        """
        try:
            header, rest = unframe(body)
        except ValueError:
            header, rest = _NOTHING, _NOTHING  # it is no answer; below it is said why
        key = bytes(header)
        known = self._known.get(key)
        if known is None or known.size != len(rest):
            return self._unknown(body, key, rest, request_id, name, version)
        pieces: list[Buffer] = [_head(name, version)]
        request_id = request_id or known.request_id
        if request_id:
            text = request_id.encode()
            pieces += (_tag(_ID, len(text)), text)
        pieces.append(known.fields)
        at = 0
        for tag, size in known.tensors:
            pieces += (tag, rest[at : at + size])
            at += size
        return b"".join(pieces)

    def _unknown(
        self, body: Buffer, key: bytes, rest: memoryview, request_id: str, name: str, version: str
    ) -> bytes:
        response = response_of(
            body, is_framed=True, wants_raw=True, request_id="", name=name, version=version
        )
        own_id, tensors = response.id, [*response.raw_output_contents]
        if len(key) <= MAX_KEY_BYTES and b"".join(tensors) == rest:
            fields = ModelInferResponse(outputs=response.outputs, parameters=response.parameters)
            if len(self._known) >= MAX_REMEMBERED:
                self._known.clear()
            self._known[key] = _KnownAnswer(
                own_id,
                fields.SerializeToString(),
                [(_tag(_RAW_OUT, len(each)), len(each)) for each in tensors],
                len(rest),
            )
        response.id = request_id or own_id
        return response.SerializeToString()


_NOTHING: Final = memoryview(b"")


@lru_cache(maxsize=256)
def _head(name: str, version: str) -> bytes:
    """The fields that say which model has answered."""
    return ModelInferResponse(model_name=name, model_version=version).SerializeToString()


def _tag(tag: int, size: int) -> bytes:
    """What stands before the bytes of a field."""
    data = bytearray((tag,))
    while size >= 0x80:
        data.append(size & 0x7F | 0x80)
        size >>= 7
    data.append(size)
    return bytes(data)
