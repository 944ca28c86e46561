"""Choose the device of a handler and compile its model as the configuration says."""

from __future__ import annotations

import importlib
import importlib.util
import logging
import os
from collections.abc import Mapping
from typing import Any, Final, NamedTuple

import torch

from ..util import check_valid_pt2_backend

logger = logging.getLogger(__name__)

_BACKEND_PACKAGES: Final = {"openvino": "openvino.torch", "tensorrt": "torch_tensorrt"}
"""Packages whose import registers a ``torch.compile`` back end."""


class Placement(NamedTuple):
    """Where a model lives.

    Attributes:
        device: a ``torch.device``.
        map_location: the kind of device, as text, for loaders; None for XLA.
    """

    device: Any
    map_location: str | None


def is_installed(package: str) -> bool:
    """Whether a top-level package could be imported; it is not."""
    return importlib.util.find_spec(package) is not None


def is_enabled(variable: str) -> bool:
    """Whether an environment variable says ``true``."""
    return os.environ.get(variable, "false").lower() == "true"


def choose_device(gpu_id: int | str | None) -> Placement:
    """The device for a worker: the accelerator it was given, else the CPU.

    Args:
        gpu_id: number of the accelerator, or None for the CPU.
    """
    if gpu_id is not None:
        if torch.cuda.is_available():
            device = torch.device(f"cuda:{gpu_id}")
            if torch.cuda.get_device_capability(device)[0] >= 8:
                torch.set_float32_matmul_precision("high")
            return Placement(device, "cuda")
        if is_enabled("TS_IPEX_GPU_ENABLE") and torch.xpu.is_available():
            return Placement(torch.device(f"xpu:{gpu_id}"), "xpu")
        if torch.backends.mps.is_available():
            return Placement(torch.device("mps"), "mps")
    if is_installed("torch_xla"):
        xla_model = importlib.import_module("torch_xla.core.xla_model")
        return Placement(xla_model.xla_device(), None)
    return Placement(torch.device("cpu"), "cpu")


def compile_options(pt2: Any) -> dict[str, Any] | None:
    """Keyword arguments of ``torch.compile`` that the section ``pt2`` asks for.

    Args:
        pt2: ``{"compile": {"enable": true, ...}}``; or, deprecated, the name of a back end or
            the keyword arguments themselves.

    Returns:
        The arguments, or None when nothing is to be compiled.

    Raises:
        ValueError: the section is neither a mapping nor text.
    """
    if not pt2:
        return None
    if isinstance(pt2, str):
        options: dict[str, Any] = {"backend": pt2}
    elif not isinstance(pt2, Mapping):
        msg = f"pt2 of model-config.yaml must be a mapping or text, not {type(pt2).__name__}"
        raise ValueError(msg)  # noqa: TRY004  # the value of a file, not of an argument
    elif "compile" in pt2:
        section = dict(pt2["compile"] or {})
        if not section.pop("enable", False):
            return None
        return _checked(section)
    elif "export" in pt2:
        return None
    else:
        options = dict(pt2)
    logger.warning("This form of pt2 is deprecated; write pt2: {compile: {enable: true, ...}}.")
    return _checked(options)


def _checked(options: dict[str, Any]) -> dict[str, Any] | None:
    backend = options.get("backend")
    if backend is not None and not check_valid_pt2_backend(str(backend)):
        logger.warning("The model is served without torch.compile.")
        return None
    return options


def compile_model(model: Any, options: Mapping[str, Any]) -> Any:
    """``torch.compile`` a model; one that cannot be compiled is returned as it is."""
    package = _BACKEND_PACKAGES.get(str(options.get("backend")))
    try:
        if package is not None:
            importlib.import_module(package)
        compiled = torch.compile(model, **options)
    except Exception as error:  # noqa: BLE001, RUF100  # an optimisation must not cost the service
        logger.warning("torch.compile failed, the model runs uncompiled: %s", error)
        return model
    logger.info("The model is compiled at its first call, with %s.", dict(options))
    return compiled


def optimize_for_ipex(model: Any) -> Any:
    """Prepare a model with the Intel extension, which must be installed."""
    ipex = importlib.import_module("intel_extension_for_pytorch")
    return ipex.optimize(model.to(memory_format=torch.channels_last))
