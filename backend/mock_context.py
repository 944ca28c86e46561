"""A context for tests of handlers that run without a server."""

from __future__ import annotations

import importlib.util
from pathlib import Path
from typing import Any

from .metrics import MetricsStore
from .util import get_yaml_config


class MockContext:
    """What ``initialize`` and ``handle`` of a handler ask a context for.

    Attributes:
        manifest: names the model and its files.
        system_properties: ``model_dir``; ``gpu_id`` only where there is an accelerator.
        explain: whether explanations are asked for.
        metrics: collects what the handler records, in ``metrics.store``.
        model_yaml_config: the parsed YAML file, or {}.

    Args:
        model_pt_file: serialized file in ``model_dir``, or None.
        model_dir: the model's folder.
        model_file: Python file with the model's class, or None.
        gpu_id: number of the accelerator.
        model_name: name of the model.
        model_yaml_config_file: YAML file in ``model_dir``.
    """

    def __init__(
        self,
        model_pt_file: str | None = "model.pt",
        model_dir: str = ".",
        model_file: str | None = "model.py",
        gpu_id: int | str = "0",
        model_name: str = "mnist",
        model_yaml_config_file: str | None = None,
    ) -> None:
        self.model_name = model_name
        self.manifest: dict[str, Any] = {"model": {"modelName": model_name}}
        if model_pt_file:
            self.manifest["model"]["serializedFile"] = model_pt_file
        if model_file:
            self.manifest["model"]["modelFile"] = model_file
        self.system_properties: dict[str, Any] = {"model_dir": str(model_dir)}
        if _has_accelerator():
            self.system_properties["gpu_id"] = gpu_id
        self.explain = False
        self.metrics = MetricsStore({0: model_name}, model_name)
        self.model_yaml_config: Any = {}
        if model_yaml_config_file:
            self.model_yaml_config = get_yaml_config(Path(model_dir) / model_yaml_config_file)

    def get_request_header(self, idx: int, key: str) -> bool:
        """True for the key ``explain`` of later rows while `explain` is set, else False."""
        return key == "explain" and idx >= 1 and self.explain


def _has_accelerator() -> bool:
    if importlib.util.find_spec("torch") is None:
        return False
    import torch  # only tests of handlers come here

    return torch.cuda.is_available()
