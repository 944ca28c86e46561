"""The work behind Triton's python backend; becomes ``model.py`` of its model repository."""

import os
import sys
from typing import Any

import numpy as np
import triton_python_backend_utils as triton

sys.path.insert(0, os.environ["BENCH_SERVICES"])
import work


class TritonPythonModel:
    """Answers bodies with bodies, and tensors with tensors."""

    def initialize(self, args: dict[str, str]) -> None:
        """Load the model."""
        del args
        self._function: Any = None if work.work() in {"tensor", "stream"} else work.function()

    def execute(self, requests: list[Any]) -> list[Any] | None:
        """One response for each request."""
        inputs = [triton.get_input_tensor_by_name(each, "INPUT0").as_numpy() for each in requests]
        if work.work() == "stream":
            for request, each in zip(requests, inputs, strict=True):
                self._stream(request, int(each.flat[0]))
            return None
        if self._function is None:
            outputs = inputs
        else:
            # Triton gathers requests, each of one body.
            answers = self._function([each.flat[0] for each in inputs])
            outputs = [
                np.array([answer], dtype=object).reshape(each.shape)
                for answer, each in zip(answers, inputs, strict=True)
            ]
        return [
            triton.InferenceResponse(output_tensors=[triton.Tensor("OUTPUT0", each)])
            for each in outputs
        ]

    @staticmethod
    def _stream(request: Any, count: int) -> None:
        sender = request.get_response_sender()
        chunk = np.array([work.TEXT.encode()], dtype=object)
        for _ in range(count):
            tensor = triton.Tensor("OUTPUT0", chunk)
            sender.send(triton.InferenceResponse(output_tensors=[tensor]))
        sender.send(flags=triton.TRITONSERVER_RESPONSE_COMPLETE_FINAL)
