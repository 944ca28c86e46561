"""Request envelopes: what a handler sees of a request, and what a client sees of its results."""

from __future__ import annotations

import importlib
from typing import Final

from tsl.protocol.errors import LoadFailed

from .base import BaseEnvelope

_CLASSES: Final = {
    "base": BaseEnvelope.__name__,
    "body": "BodyEnvelope",
    "json": "JSONEnvelope",
    "kserve": "KServeEnvelope",
    "kservev2": "KServev2Envelope",
    "tensor_rows": "TensorRows",
}

__all__ = ["BaseEnvelope", "load_envelope"]


def load_envelope(name: str) -> type[BaseEnvelope]:
    """Find an envelope by its name in the server's configuration.

    Args:
        name: ``base``, ``body``, ``json``, ``kserve`` or ``kservev2``; ``tensor_rows`` is for
            models with ``inputFormat: tensors``.

    Returns:
        The class; call it with the handler's entry point and use ``handle`` of the object.

    Raises:
        LoadFailed: there is no such envelope.
    """
    class_name = _CLASSES.get(name)
    if class_name is None:
        msg = f"There is no request envelope {name!r}; service_envelope must be one of: "
        raise LoadFailed(msg + ", ".join(each for each in _CLASSES if each != "tensor_rows"))
    module = importlib.import_module(f"{__name__}.{name}")
    envelope: type[BaseEnvelope] = getattr(module, class_name)
    return envelope
