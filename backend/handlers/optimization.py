"""Prepare a model for serving: ``handler: {optimize: true}``, and warm-up.

An optimisation must not cost the service: whatever cannot be optimised, or computes something
else afterwards, is served as it was.
"""

from __future__ import annotations

import logging
import warnings
from collections.abc import Mapping
from typing import Any, Final

import torch

from .onnx_session import is_session, run_session

logger = logging.getLogger(__name__)

DEFAULT_RUNS: Final = 3
"""TorchScript's profiling executor specialises in the second call and is settled in the third."""

_RELATIVE: Final = 1e-3
_ABSOLUTE: Final = 1e-4
"""Of the check before an optimised model is taken; rounding differs with another order of sums."""


def handler_section(model_yaml_config: Any) -> Mapping[str, Any]:
    """The section ``handler`` of ``model-config.yaml``; empty when there is none."""
    section = model_yaml_config.get("handler") if isinstance(model_yaml_config, dict) else None
    return section if isinstance(section, Mapping) else {}


def configured_example(section: Mapping[str, Any], device: Any) -> torch.Tensor | None:
    """An input of the shape that the configuration names.

    Args:
        section: has ``input_shape`` (a batch of one, such as ``[1, 3, 224, 224]``) and may have
            ``input_dtype`` (default ``float32``).
        device: where it is to be.

    Returns:
        Random values between 0 and 1, zeros for integers; None without ``input_shape``.

    Raises:
        ValueError: shape or type is none.
    """
    shape = section.get("input_shape")
    if shape is None:
        return None
    if not (isinstance(shape, list) and shape and all(type(n) is int and n > 0 for n in shape)):
        msg = f"handler: input_shape must be a list of positive numbers, not {shape!r}."
        raise ValueError(msg)
    name = section.get("input_dtype", "float32")
    dtype = getattr(torch, str(name), None)
    if not isinstance(dtype, torch.dtype):
        msg = f"handler: input_dtype must be a type of torch such as float32, not {name!r}."
        raise ValueError(msg)  # noqa: TRY004  # the value of a file, not of an argument
    if dtype.is_floating_point:
        generator = torch.Generator().manual_seed(0)
        return torch.rand(shape, generator=generator).to(device=device, dtype=dtype)
    return torch.zeros(shape, device=device, dtype=dtype)


def optimize(model: Any, example: torch.Tensor | None, device: Any) -> Any:
    """Freeze a model and let TorchScript fuse and repack it.

    TorchScript models are frozen, eager ones traced first; convolutions get the memory format
    ``channels_last``. The result has no gradients.

    Args:
        model: TorchScript or eager, in evaluation mode; an eager one must not decide by the
            values of its input, because tracing records what it does for one.
        example: input of one row, shape (1, ...).
        device: where the model is; only the CPU gains.

    Returns:
        The optimised model, or the model as it was.
    """
    if torch.device(device).type != "cpu":
        logger.warning("optimize is for models on the CPU; this one is on %s.", device)
        return model
    if not isinstance(model, torch.nn.Module):
        logger.warning("optimize is for eager and TorchScript models; this one is neither.")
        return model
    if example is None and not isinstance(model, torch.jit.ScriptModule):
        logger.warning("optimize needs handler: input_shape, such as [1, 3, 224, 224].")
        return model
    try:
        optimized = _optimize(model, example)
        if example is not None:
            _compare(model, optimized, example)
    except Exception as error:  # noqa: BLE001, RUF100  # the compiler of TorchScript raises anything
        logger.warning("The model is served without optimize: %s", error)
        return model
    logger.info("The model is frozen and optimised for inference.")
    return optimized


class TracedModel(torch.nn.Module):
    """A traced model, and the original for inputs of another shape than that it was traced for.

    A trace holds as constants what the model computes from the shape of its input, such as
    paddings; only the number of rows is known to be free.

    Args:
        traced: called for rows of the example's shape.
        original: called for all others.
        example: what was traced, shape (1, ...).
    """

    def __init__(self, traced: Any, original: torch.nn.Module, example: torch.Tensor) -> None:
        super().__init__()
        self.traced = traced
        self.original = original
        self._shape = example.shape[1:]
        self.eval()

    def forward(self, rows: torch.Tensor) -> Any:
        """Scores of rows, shape (rows, ...)."""
        return (self.traced if rows.shape[1:] == self._shape else self.original)(rows)


def _optimize(model: torch.nn.Module, example: torch.Tensor | None) -> Any:
    jit: Any = torch.jit  # has no types
    if any(parameter.dim() == 4 for parameter in model.parameters()):
        model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    if example is None or isinstance(model, torch.jit.ScriptModule):
        return jit.optimize_for_inference(model)  # freezes what is not frozen yet
    with torch.no_grad(), warnings.catch_warnings():
        # It warns of constants that a trace depends on; `TracedModel` and `_compare` see to them.
        warnings.simplefilter("ignore", jit.TracerWarning)
        traced = jit.trace(model, example, check_trace=False)
    return TracedModel(jit.optimize_for_inference(traced), model, example)


def _compare(model: Any, optimized: Any, example: torch.Tensor) -> None:
    """Raise ValueError unless both compute the same, also for another number of rows."""
    with torch.inference_mode():
        for batch in (example, torch.cat([example, example.flip(-1)])):
            if not _is_close(optimized(batch), model(batch)):
                msg = f"it computes something else for {len(batch)} rows"
                raise ValueError(msg)


def _is_close(one: Any, other: Any) -> bool:
    """Whether outputs agree; ``torch.testing`` would import sympy for it: seconds, and 27 MB."""
    if isinstance(one, torch.Tensor):
        return one.shape == other.shape and torch.allclose(one, other, _RELATIVE, _ABSOLUTE)
    if isinstance(one, Mapping):
        return one.keys() == other.keys() and all(_is_close(one[key], other[key]) for key in one)
    if isinstance(one, list | tuple):
        return len(one) == len(other) and all(map(_is_close, one, other))
    return bool(one == other)


def warm_up(model: Any, example: torch.Tensor | None, wanted: Any) -> None:
    """Call a model before the first request comes: what is slow once is slow now.

    Args:
        model: what will be called.
        example: input of one row.
        wanted: ``handler: warm_up``: true, or the number of calls.

    Raises:
        ValueError: the setting is none of these, or there is no example.
        Exception: what the model raised.
    """
    if wanted is None or wanted is False:
        return
    runs = DEFAULT_RUNS if wanted is True else wanted
    if type(runs) is not int or runs < 1:
        msg = f"handler: warm_up must be true, false or a number of calls, not {wanted!r}."
        raise ValueError(msg)
    if example is None:
        msg = "handler: warm_up needs input_shape, such as [1, 3, 224, 224]."
        raise ValueError(msg)
    with torch.inference_mode():
        for _ in range(runs):
            run_session(model, example) if is_session(model) else model(example)
