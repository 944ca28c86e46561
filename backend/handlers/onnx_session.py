"""Run ONNX models with onnxruntime, which is imported when a model needs it."""

from __future__ import annotations

import importlib
import os
from typing import Any

import torch


def setup_ort_session(model_pt_path: str, map_location: str | None) -> Any:
    """Open an ONNX model.

    Args:
        model_pt_path: path of the ``.onnx`` file.
        map_location: ``"cuda"`` to run on the accelerator.

    Returns:
        The ``onnxruntime.InferenceSession``. It is not callable: `BaseHandler.inference` runs it
        by `run_session`, and handlers with an ``inference`` of their own by its method ``run``.
    """
    onnxruntime = importlib.import_module("onnxruntime")
    providers = ["CPUExecutionProvider"]
    if map_location == "cuda":
        providers.insert(0, "CUDAExecutionProvider")
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = _thread_count()
    return onnxruntime.InferenceSession(model_pt_path, options, providers=providers)


def _thread_count() -> int:
    """The worker's share of the CPUs; without one, the CPUs of this process, not the machine's."""
    share = os.environ.get("OMP_NUM_THREADS", "")
    return int(share) if share.isdigit() and int(share) else len(os.sched_getaffinity(0))


def is_session(model: Any) -> bool:
    """Whether a model is something that `run_session` can run."""
    return not callable(model) and hasattr(model, "get_inputs") and hasattr(model, "run")


def run_session(session: Any, *inputs: Any) -> Any:
    """Call an ONNX model like a torch model.

    Args:
        session: an ``onnxruntime.InferenceSession``.
        inputs: tensors, in the order of the model's inputs.

    Returns:
        The output as a tensor on the CPU; of several outputs a dict by name.

    Raises:
        ValueError: the model has another number of inputs.
    """
    names = [each.name for each in session.get_inputs()]
    if len(names) != len(inputs):
        msg = f"The ONNX model has {len(names)} inputs ({', '.join(names)}), not {len(inputs)}."
        raise ValueError(msg)
    values = {name: _to_array(value) for name, value in zip(names, inputs, strict=True)}
    outputs = [_to_tensor(value) for value in session.run(None, values)]
    if len(outputs) == 1:
        return outputs[0]
    return {each.name: value for each, value in zip(session.get_outputs(), outputs, strict=True)}


def _to_array(value: Any) -> Any:
    return value.detach().cpu().numpy() if isinstance(value, torch.Tensor) else value


def _to_tensor(value: Any) -> Any:
    try:
        return torch.from_numpy(value)
    except TypeError:  # text, lists of maps: ONNX has outputs that torch has not
        return value
