"""What requests of the Open Inference Protocol say, read once for those that say the same.

Clients that send tensors as bytes send the same document each time: names, data types and shapes of a
model hardly change. So what was made of a document is remembered by its text, as long as no values, no id
and nothing of great size is in it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final, NamedTuple

from . import json_text
from .classification import classes_asked
from .envelopes.base import parse_document
from .tensor_requests import DeclaredInput, declared_inputs, requested_outputs

MAX_REMEMBERED: Final = 256
"""Documents; above, all are forgotten."""
MAX_BYTES: Final = 4096
"""Longer ones are not remembered."""

_VALUES: Final = b'"data"'
_SCALARS: Final = (str, int, float, bool, type(None))


class Wishes(NamedTuple):
    """What a request says beside its inputs.

    Attributes:
        request_id: the client's, "" if it gave none.
        parameters: of the request, by name.
        outputs: names it asks for, none for all of them.
        wants_binary: whether it wants an output as bytes, by name.
        classes: how many classes it wants of which outputs.
    """

    request_id: str
    parameters: dict[str, Any]
    outputs: list[str]
    wants_binary: Callable[[str], bool]
    classes: dict[str, int]


class RequestDocument(NamedTuple):
    """A request without the bytes behind it; not to be changed.

    Attributes:
        inputs: what it declares; its values are here, if they are in the document.
        wishes: the rest.
        document: all of it, as it came.
    """

    inputs: list[DeclaredInput]
    wishes: Wishes
    document: dict[str, Any]


def read_document(value: Any) -> RequestDocument:
    """What a document says.

    Args:
        value: the document, as JSON text or parsed.

    Raises:
        InvalidInput: it is no request of the protocol.
    """
    document = parse_document(value, json_text.parse)
    inputs = declared_inputs(document)
    if len(document) == 1:  # the inputs, and nothing else
        return RequestDocument(inputs, _NO_WISHES, document)
    outputs, wants_binary = requested_outputs(document)
    classes = classes_asked(document)
    request_id = str(document.get("id") or "")
    parameters = document.get("parameters") or {}
    wishes = Wishes(request_id, parameters, outputs, wants_binary, classes)
    return RequestDocument(inputs, wishes, document)


_NO_WISHES: Final = Wishes("", {}, *requested_outputs({}), {})


class RequestDocuments:
    """Reads documents, and remembers them."""

    def __init__(self) -> None:
        self._remembered: dict[bytes, RequestDocument] = {}

    def __len__(self) -> int:
        return len(self._remembered)

    def read(self, value: Any) -> RequestDocument:
        """What a document says; other requests may get the same object.

        Args:
            value: the document, as JSON text or parsed.

        Raises:
            InvalidInput: it is no request of the protocol.
        """
        if not isinstance(value, bytes | bytearray | memoryview) or len(value) > MAX_BYTES:
            return read_document(value)
        text = bytes(value)
        if _VALUES in text:
            return read_document(text)
        found = self._remembered.get(text)
        if found is None:
            found = read_document(text)
            if not _may_be_remembered(found):
                return found
            if len(self._remembered) >= MAX_REMEMBERED:
                self._remembered.clear()
            self._remembered[text] = found
        return found


def _may_be_remembered(request: RequestDocument) -> bool:
    wishes = request.wishes
    return (
        not wishes.request_id
        and all(each.byte_size is not None for each in request.inputs)
        and all(isinstance(each, _SCALARS) for each in wishes.parameters.values())
    )
