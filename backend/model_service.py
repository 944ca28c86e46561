"""Base classes of very old handlers, from before TorchServe: one object with ``signature.json``."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any

SIGNATURE_KEY = "Signature"


class ModelService(ABC):
    """What an old handler is a subclass of.

    Args:
        model_name: name of the model.
        model_dir: its folder.
        manifest: the archive's manifest; ``Model.Signature`` names the signature's file.
        gpu: number of the accelerator, None for the CPU.

    Attributes:
        ctx: the parsed signature, {} without one.
        context: the context of the running call.
    """

    def __init__(
        self,
        model_name: str,
        model_dir: str,
        manifest: dict[str, Any] | None,
        gpu: int | None = None,
    ) -> None:
        self.model_name = model_name
        self.model_dir = model_dir
        self.manifest = manifest
        self.gpu = gpu
        self._context: Any = None
        self._signature = _read_signature(model_dir, manifest)

    def initialize(self, context: Any) -> None:
        """Take over what the context knows; an object may also be made without arguments."""
        properties = context.system_properties
        self._context = context
        self.model_name = context.model_name
        self.model_dir = properties.get("model_dir")
        self.manifest = context.manifest
        self.gpu = properties.get("gpu_id")
        self._signature = _read_signature(self.model_dir, self.manifest)

    @abstractmethod
    def inference(self, data: Any) -> Any:
        """Answer the inputs of one request."""

    def ping(self) -> None:  # noqa: B027  # a hook that need not be there
        """Answer a health check."""

    @property
    def signature(self) -> Any:
        """The parsed signature, {} without one."""
        return self._signature

    def handle(self, data: Any, context: Any) -> list[Any]:
        """Answer a batch, row by row.

        Args:
            data: one dict for each request.
            context: the context of the batch.
        """
        self._context = context
        return [self.inference(row) for row in data]


class SingleNodeService(ModelService):
    """A model in three steps; subclasses supply `_inference` at least."""

    def inference(self, data: Any) -> Any:
        """Preprocess, infer, postprocess."""
        return self._postprocess(self._inference(self._preprocess(data)))

    @abstractmethod
    def _inference(self, data: Any) -> Any:
        """Call the model."""

    def _preprocess(self, data: Any) -> Any:
        return data

    def _postprocess(self, data: Any) -> Any:
        return data


def _read_signature(model_dir: Any, manifest: dict[str, Any] | None) -> Any:
    """Read the file that the manifest names.

    Raises:
        OSError: it cannot be read.
        ValueError: it is not JSON.
    """
    entry = (manifest or {}).get("Model")
    name = entry.get(SIGNATURE_KEY) if isinstance(entry, dict) else None
    if not name:
        return {}
    return json.loads(Path(str(model_dir), str(name)).read_bytes())
