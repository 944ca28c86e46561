"""Run one batch of a handler under ``torch.profiler``."""

from __future__ import annotations

import logging
from typing import Any, Final

import torch
from torch.profiler import ProfilerActivity, profile, record_function, tensorboard_trace_handler

logger = logging.getLogger(__name__)

TRACE_FOLDER: Final = "/tmp/pytorch_profiler"  # noqa: S108  # where users look for traces
_TABLE_ROWS: Final = 10


def profile_call(handler: Any, data: Any) -> tuple[Any, Any]:
    """Answer a batch, recording each step.

    Args:
        handler: a `BaseHandler`; its ``profiler_args`` override the defaults.
        data: the rows.

    Returns:
        The answer and the profile. A trace is written below `TRACE_FOLDER`, in a folder named
        after the model, unless ``profiler_args`` has its own ``on_trace_ready``.
    """
    arguments = {"activities": _activities(), "record_shapes": True, **handler.profiler_args}
    if "on_trace_ready" not in arguments:
        model = (handler.manifest or {}).get("model") or {}
        folder = f"{TRACE_FOLDER}/{model.get('modelName') or 'model'}"
        arguments["on_trace_ready"] = tensorboard_trace_handler(folder)
        logger.info("The profile of this batch is written to %s.", folder)
    with profile(**arguments) as profiler:
        with record_function("preprocess"):
            prepared = handler.preprocess(data)
        if handler._is_explain():  # noqa: SLF001  # a name that subclasses override
            with record_function("explain"):
                output = handler.explain_handle(prepared, data)
        else:
            with record_function("inference"):
                inferred = handler.inference(prepared)
            with record_function("postprocess"):
                output = handler.postprocess(inferred)
    table = profiler.key_averages().table(sort_by="cpu_time_total", row_limit=_TABLE_ROWS)
    logger.info("%s", table)
    return output, profiler


def _activities() -> list[ProfilerActivity]:
    activities = [ProfilerActivity.CPU]
    if torch.cuda.is_available():
        activities.append(ProfilerActivity.CUDA)
    return activities
