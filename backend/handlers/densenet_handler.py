"""The handler ``densenet_handler``: tensors in, tensors out, both as files of ``torch.save``."""

from __future__ import annotations

import io
import pickle
import time
from typing import TYPE_CHECKING, Any

import torch

from tsl.protocol.errors import InvalidInput, TslError

from ..regroup import refuse_rows, split_rows
from ..util import list_classes_from_module
from .base_handler import BaseHandler

if TYPE_CHECKING:
    from ..context import Context

__all__ = ["DenseNetHandler", "list_classes_from_module"]


class DenseNetHandler:
    """Serves an eager or TorchScript model to clients that send tensors.

    Attributes:
        model: the loaded model.
        device: where it is.
        initialized: whether `initialize` has finished.
    """

    def __init__(self) -> None:
        self.model: Any = None
        self.device: Any = None
        self.initialized = False

    def initialize(self, context: Context) -> None:
        """Load the model; raises what `BaseHandler.initialize` raises."""
        loader = BaseHandler()
        loader.initialize(context)
        self.model, self.device = loader.model, loader.device
        self.initialized = True

    def preprocess(self, data: Any) -> torch.Tensor:
        """Read one tensor from each row and stack them.

        Raises:
            InvalidInput: the only row is no saved tensor.
            Regroup: some rows are none, or not all have the same shape.
        """
        tensors: list[torch.Tensor] = []
        refused: dict[int, TslError] = {}
        for number, row in enumerate(data):
            try:
                tensors.append(_load_tensor(row.get("data") or row.get("body") or b""))
            except InvalidInput as error:
                refused[number] = error
        refuse_rows(refused, len(data))
        split_rows([(tensor.shape, tensor.dtype) for tensor in tensors])
        return torch.stack(tensors).to(self.device)

    def inference(self, data: torch.Tensor) -> torch.Tensor:
        """Call the model."""
        with torch.no_grad():
            output: torch.Tensor = self.model(data)
        return output

    def postprocess(self, data: torch.Tensor) -> list[torch.Tensor]:
        """One tensor of shape (1, ...) for each row."""
        return list(torch.split(data, 1))

    def handle(self, data: Any, context: Context) -> list[torch.Tensor]:
        """Answer a batch."""
        started = time.perf_counter()
        output = self.postprocess(self.inference(self.preprocess(data)))
        elapsed_ms = round((time.perf_counter() - started) * 1000, 2)
        if context.metrics is not None:
            context.metrics.add_time("HandlerTime", elapsed_ms, None, "ms")
        return output


def _load_tensor(value: Any) -> torch.Tensor:
    try:
        # Never a full pickle: this file comes from a client.
        tensor = torch.load(io.BytesIO(value), map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, TypeError, ValueError) as error:
        msg = "The request body is not a tensor saved by torch.save."
        raise InvalidInput(msg) from error
    if not isinstance(tensor, torch.Tensor):
        msg = f"The request body holds a {type(tensor).__name__}, not a tensor."
        raise InvalidInput(msg)
    return tensor
