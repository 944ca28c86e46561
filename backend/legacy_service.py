"""`Service` as TorchServe's tests and tools of handlers know it: batches of dicts in, bytes out.

Workers do not use this; they call `Service.predict` with frames.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

from tsl.protocol.frames import Failure, Predict, Result

from .context import RequestProcessor
from .otf_messages import create_predict_response
from .service import PREDICTION_METRIC, WRONG_LENGTH, Service, write_traceback
from .streaming import ReplyStream
from .util import PredictionException

Batch = Sequence[Mapping[str, Any]]


class LegacyService(Service):
    """A loaded model that can also be asked in TorchServe's own way."""

    _socket: Any = None

    @staticmethod
    def retrieve_data_for_inference(
        batch: Batch | None,
    ) -> tuple[list[RequestProcessor], list[dict[str, Any]], dict[int, str]]:
        """Take a batch apart.

        Args:
            batch: for each request ``requestId``, ``headers`` and ``parameters``, as
                ``retrieve_msg`` returns them.

        Returns:
            The requests' headers, the rows for the handler, and the request id of each row.

        Raises:
            ValueError: there is no batch.
        """
        if batch is None:
            raise ValueError("there is no batch to take apart")
        processors, rows, ids = [], [], {}
        for index, request in enumerate(batch):
            header: dict[str, Any] = {}
            row: dict[str, Any] = {}
            for parameter in request["parameters"]:
                row[parameter["name"]] = parameter["value"]
                header[parameter["name"]] = {"content-type": parameter["contentType"]}
            for pair in request.get("headers") or ():
                header[_text(pair["name"])] = _text(pair["value"])
            processors.append(RequestProcessor(header))
            rows.append(row)
            ids[index] = _text(request["requestId"])
        return processors, rows, ids

    def set_cl_socket(self, cl_socket: Any) -> None:
        """Give the handler's context a connection."""
        self._socket = cl_socket

    def predict(  # type: ignore[override]  # two ways to ask, told apart by the batch
        self, batch: Predict | Batch, stream: ReplyStream | None = None
    ) -> Result | Failure | bytearray:
        """Run the handler on a batch.

        Args:
            batch: a frame, or TorchServe's form of a batch.
            stream: needed with a frame.

        Returns:
            A frame for a frame, otherwise TorchServe's answer as bytes.
        """
        if isinstance(batch, Predict):
            assert stream is not None
            return super().predict(batch, stream)
        processors, rows, ids = self.retrieve_data_for_inference(batch)
        context = self.context
        context.request_ids = ids
        context.request_processor = processors
        context.cl_socket = self._socket
        if context.metrics is not None:
            context.metrics.set_request_ids(ids)
        if self._entry_point is None:
            raise RuntimeError("the model is not loaded")
        started = time.perf_counter()
        try:
            answers = self._entry_point(rows, context)
        except PredictionException as error:
            return create_predict_response(None, ids, error.message, error.error_code)
        except Exception as error:  # the boundary to user code
            write_traceback("The handler failed:", error)
            if isinstance(error, MemoryError) or "CUDA" in str(error):
                return create_predict_response(None, ids, "Out of resources", 507)
            return create_predict_response(None, ids, "Prediction failed", 503)
        if not isinstance(answers, list):
            return create_predict_response(None, ids, "Invalid model predict output", 503)
        if len(answers) != len(rows):
            return create_predict_response(None, ids, WRONG_LENGTH, 503)
        if context.metrics is not None:
            elapsed_ms = round((time.perf_counter() - started) * 1000, 2)
            context.metrics.add_time(PREDICTION_METRIC, elapsed_ms)
        return create_predict_response(answers, ids, "Prediction success", 200, context)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else bytes(value).decode()
