"""Open serialized models that bring their code with them: TorchScript, exported, compiled, ONNX."""

from __future__ import annotations

import importlib
import zipfile
from pathlib import Path
from typing import Any, NamedTuple

import torch

from .acceleration import Placement, is_installed
from .onnx_session import setup_ort_session


class OpenedModel(NamedTuple):
    """A model and what is known about it.

    Attributes:
        model: called by the handler.
        has_gradients: whether explanations can be computed with it.
    """

    model: Any
    has_gradients: bool


def open_model(path: str, place: Placement, pt2: Any) -> OpenedModel:
    """Open any model but TorchScript.

    Args:
        path: a file that ends with ``.onnx``, ``.so`` or ``.pt2``.
        place: where it is to run.
        pt2: section ``pt2`` of the model's configuration.

    Raises:
        RuntimeError: this is no file of these kinds, or a package is missing.
    """
    name, suffix = Path(path).name, Path(path).suffix
    if suffix == ".onnx":
        if not is_installed("onnxruntime"):
            msg = f"{name} needs the package onnxruntime; install it with: pip install onnxruntime"
            raise RuntimeError(msg)
        return OpenedModel(setup_ort_session(path, place.map_location), has_gradients=False)
    if suffix not in {".so", ".pt2"}:
        msg = (
            f"No model weights could be loaded from {name}: without a modelFile it must be "
            "TorchScript (.pt), an exported program (.pt2), ONNX (.onnx) or AOTInductor (.so)."
        )
        raise RuntimeError(msg)
    if place.map_location == "cuda":
        torch.cuda.set_device(place.device)
    if suffix == ".so":
        return OpenedModel(_open_library(path, place, pt2), has_gradients=False)
    if _is_compiled_package(path):
        load_package = importlib.import_module("torch._inductor").aoti_load_package
        return OpenedModel(load_package(path), has_gradients=False)
    module: Any = torch.export.load(path).module()
    return OpenedModel(module.to(place.device), has_gradients=True)


def _open_library(path: str, place: Placement, pt2: Any) -> Any:
    export = pt2.get("export") if isinstance(pt2, dict) else None
    if not (isinstance(export, dict) and export.get("aot_compile")):
        msg = (
            f"No model weights could be loaded: {Path(path).name} is native code, which "
            "model-config.yaml has to announce by pt2: {export: {aot_compile: true}}."
        )
        raise RuntimeError(msg)
    aot_load = importlib.import_module("torch._export").aot_load
    return aot_load(path, place.map_location)


def _is_compiled_package(path: str) -> bool:
    """Tell a package of AOTInductor from an exported program: both are ``.pt2``."""
    with zipfile.ZipFile(path) as package:
        return any("/aotinductor/" in name for name in package.namelist())


def open_torchscript(path: str, device: Any) -> Any:
    """Load a TorchScript file.

    Raises:
        RuntimeError: it is none; the text says what else it may be.
    """
    load: Any = torch.jit.load  # has no types
    try:
        return load(path, map_location=device)
    except RuntimeError as error:
        if not _is_state_dict(path):
            raise
        msg = (
            f"{Path(path).name} is not TorchScript but a file of torch.save: its archive needs a "
            "modelFile, the Python file with the model's class."
        )
        raise RuntimeError(msg) from error


def _is_state_dict(path: str) -> bool:
    """Whether a file was written by ``torch.save``; nothing of it is executed."""
    if not zipfile.is_zipfile(path):
        return False
    with zipfile.ZipFile(path) as file:
        names = {name.partition("/")[2] for name in file.namelist()}
    return "data.pkl" in names and "constants.pkl" not in names
