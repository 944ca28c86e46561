"""The base class of handlers: load a model, then preprocess, infer and postprocess.

Importing this module imports torch and nothing heavier: optional packages are looked for, but
imported when a model needs them. Threads of torch are the worker's business, not ours.
"""

from __future__ import annotations

import abc
import importlib
import logging
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import torch

from tsl.protocol.errors import InvalidInput, Unsupported

from ..timer import timed
from ..util import list_classes_from_module, load_label_mapping
from .acceleration import (
    Placement,
    choose_device,
    compile_model,
    compile_options,
    is_enabled,
    is_installed,
    optimize_for_ipex,
)
from .model_files import open_model, open_torchscript
from .onnx_session import is_session, run_session, setup_ort_session
from .optimization import configured_example, handler_section, optimize, warm_up
from .profiling import profile_call
from .weights import is_pickle_allowed, load_file

if TYPE_CHECKING:
    from ..context import Context

__all__ = [
    "IPEX_AVAILABLE",
    "ONNX_AVAILABLE",
    "PROFILER_AVAILABLE",
    "PT2_AVAILABLE",
    "PT230_AVAILABLE",
    "XLA_AVAILABLE",
    "BaseHandler",
    "setup_ort_session",
]

logger = logging.getLogger(__name__)

PROFILER_AVAILABLE: Final = True
PT2_AVAILABLE: Final = True
PT230_AVAILABLE: Final = True
XLA_AVAILABLE: Final = is_installed("torch_xla")
IPEX_AVAILABLE: Final = is_enabled("TS_IPEX_ENABLE") and is_installed("intel_extension_for_pytorch")
ONNX_AVAILABLE: Final = is_installed("onnxruntime") and is_installed("psutil")


class BaseHandler(abc.ABC):  # noqa: B024  # every step has a default
    """Serves a model; subclasses override the steps they need to.

    Attributes:
        model: what `inference` calls.
        mapping: label of each class number, or None.
        device: where the model is: ``torch.device``, name or number.
        initialized: whether `initialize` has finished.
        context: the context of the running call.
        model_pt_path: path of the serialized file, or None.
        manifest: the archive's manifest.
        map_location: kind of device, as text.
        explain: whether an explanation has been asked for.
        target: class that is explained.
        profiler_args: arguments of ``torch.profiler.profile``.
        model_yaml_config: the parsed ``model-config.yaml``.
        differentiable_model: the model before it was compiled or optimised, for explanations;
            None when it never had gradients.
    """

    # Also on the class: subclasses often define __init__ without calling this one.
    model: Any = None
    mapping: dict[str, str] | None = None
    device: Any = None
    initialized: bool = False
    context: Any = None
    model_pt_path: str | None = None
    manifest: Any = None
    map_location: str | None = None
    explain: bool = False
    target: Any = 0
    profiler_args: dict[str, Any] = {}  # noqa: RUF012  # replaced, never changed
    model_yaml_config: Any = {}  # noqa: RUF012  # replaced, never changed
    differentiable_model: Any = None

    def __init__(self) -> None:
        self.profiler_args = {}

    # -- loading ---------------------------------------------------------------------------

    def initialize(self, context: Context) -> None:
        """Choose the device and load model and labels.

        Args:
            context: tells the model folder, the manifest and the accelerator.

        Raises:
            RuntimeError: there are no weights that can be loaded.
            ValueError: the model file does not define exactly one class, or a setting is wrong.
            LoadFailed: the weights need a full pickle, and that is not allowed.
        """
        self.context = context
        self.model_yaml_config = getattr(context, "model_yaml_config", None) or {}
        properties = context.system_properties
        model_dir = str(properties.get("model_dir"))
        self.device, self.map_location = choose_device(properties.get("gpu_id"))
        self.manifest = context.manifest
        files = (self.manifest or {}).get("model") or {}
        serialized = files.get("serializedFile")
        self.model_pt_path = str(Path(model_dir) / serialized) if serialized else None

        self.model = self._load_model(model_dir, files.get("modelFile"))
        self._accelerate()
        self.mapping = load_label_mapping(Path(model_dir) / "index_to_name.json")
        self.initialized = True

    def _load_model(self, model_dir: str, model_file: str | None) -> Any:
        path = self.model_pt_path
        if model_file:
            model = self._load_pickled_model(model_dir, model_file, path)
            model.to(self.device)
            model.eval()
        elif path is None:
            msg = "The manifest names neither serializedFile nor modelFile: there is no model."
            raise RuntimeError(msg)
        elif path.endswith(".pt"):
            model = self._load_torchscript_model(path)
            model.eval()
        else:
            place = Placement(self.device, self.map_location)
            opened = open_model(path, place, _pt2_section(self.model_yaml_config))
            self.differentiable_model = opened.model if opened.has_gradients else None
            return opened.model
        self.differentiable_model = model
        return model

    def _load_torchscript_model(self, model_pt_path: str) -> Any:
        """Load a TorchScript file.

        Args:
            model_pt_path: path of the ``.pt`` file.
        """
        return open_torchscript(model_pt_path, self.device)

    def _load_pickled_model(
        self, model_dir: str, model_file: str, model_pt_path: str | None
    ) -> Any:
        """Build an eager model from its Python file, then load its weights.

        Args:
            model_dir: the model's folder.
            model_file: Python file in it that defines exactly one class.
            model_pt_path: path of the state dict, or None for a model without weights.

        Raises:
            RuntimeError: there is no such Python file.
            ValueError: it defines no class, or more than one.
            LoadFailed: the weights need a full pickle, and that is not allowed.
        """
        if not (Path(model_dir) / model_file).is_file():
            msg = f"The model file {model_file} is missing in the archive."
            raise RuntimeError(msg)
        module = importlib.import_module(model_file.split(".")[0])
        classes = list_classes_from_module(module)
        if len(classes) != 1:
            names = ", ".join(each.__name__ for each in classes) or "none"
            msg = f"{model_file} must define exactly one class, the model; it defines {names}."
            raise ValueError(msg)
        model = classes[0]()
        if model_pt_path:
            allow_pickle = is_pickle_allowed(self.model_yaml_config)
            state = load_file(model_pt_path, self.device, allow_pickle=allow_pickle)
            model.load_state_dict(state)
        return model

    def _accelerate(self) -> None:
        settings = handler_section(self.model_yaml_config)
        options = compile_options(_pt2_section(self.model_yaml_config))
        wants_example = settings.get("optimize") is True or settings.get("warm_up")
        example = self._example_input() if wants_example else None
        if options is not None:
            self.model = compile_model(self.model, options)
        elif IPEX_AVAILABLE:
            self.model = optimize_for_ipex(self.model)
        elif settings.get("optimize") is True:
            self.model = optimize(self.model, example, self.device)
        warm_up(self.model, example, settings.get("warm_up"))

    def _example_input(self) -> torch.Tensor | None:
        """An input of one row, shape (1, ...), for tracing and warm-up; None if none is known."""
        return configured_example(handler_section(self.model_yaml_config), self.device)

    # -- serving ---------------------------------------------------------------------------

    @timed
    def preprocess(self, data: Any) -> Any:
        """Turn the request's values into a tensor on the device."""
        return torch.as_tensor(data, device=self.device)

    @timed
    def inference(self, data: Any, *args: Any, **kwargs: Any) -> Any:
        """Call the model with the preprocessed batch."""
        if is_session(self.model):
            return run_session(self.model, data, *args)
        with torch.inference_mode():
            return self.model(data.to(self.device), *args, **kwargs)

    @timed
    def postprocess(self, data: Any) -> Any:
        """Turn the model's output into a list with one item for each row."""
        return data.tolist()

    def handle(self, data: Any, context: Context) -> Any:
        """Answer a batch; the entry point of the handler.

        Args:
            data: one dict for each request.
            context: the context of the batch.

        Returns:
            One item for each row.
        """
        started = time.perf_counter()
        self.context = context
        if os.environ.get("ENABLE_TORCH_PROFILER"):
            output, _ = self._infer_with_profiler(data=data)
        elif self._is_describe():
            output = [self.describe_handle()]
        else:
            prepared = self.preprocess(data)
            if self._is_explain():
                output = self.explain_handle(prepared, data)
            else:
                output = self.postprocess(self.inference(prepared))
        elapsed_ms = round((time.perf_counter() - started) * 1000, 2)
        if context.metrics is not None:
            context.metrics.add_time("HandlerTime", elapsed_ms, None, "ms")
        return output

    def explain_handle(self, data_preprocess: Any, raw_data: Any) -> Any:
        """Explain a batch; a subclass supplies ``get_insights(tensor, inputs, target)``.

        Args:
            data_preprocess: what `preprocess` returned.
            raw_data: the rows; a row may name the class to explain in its field ``target``.

        Returns:
            One explanation for each row.
        """
        targets = [_target(row) for row in raw_data]
        return call_get_insights(self, data_preprocess, raw_data, targets)

    def describe_handle(self) -> Any:
        """What a customized description of the model says: None, or a JSON object."""
        return None

    def _is_explain(self) -> bool:
        if self.context and self.context.get_request_header(0, "explain") == "True":
            self.explain = True
            return True
        return False

    def _is_describe(self) -> bool:
        return bool(self.context and self.context.get_request_header(0, "describe") == "True")

    def _infer_with_profiler(self, data: Any) -> tuple[Any, Any]:
        """Answer a batch under the profiler; returns the answer and the profile."""
        return profile_call(self, data)

    def get_device(self) -> Any:
        """Where the model is."""
        return self.device


def _pt2_section(model_yaml_config: Any) -> Any:
    return model_yaml_config.get("pt2") if isinstance(model_yaml_config, dict) else None


def call_get_insights(handler: Any, prepared: Any, rows: Any, targets: list[Any]) -> Any:
    """Let a handler explain its batch.

    Args:
        handler: its ``target`` is set; a subclass of `BaseHandler` supplies ``get_insights``.
        prepared: what its ``preprocess`` returned.
        rows: the batch.
        targets: class to explain, for each row.

    Raises:
        Unsupported: the handler has no ``get_insights``.
    """
    get_insights = getattr(handler, "get_insights", None)
    if get_insights is None:
        msg = "The handler of this model has no explanations."
        raise Unsupported(msg, hint="Its class needs a method get_insights.")
    first = rows[0]
    inputs = (first.get("data") or first.get("body")) if isinstance(first, dict) else first
    # One number as long as that says it all: handlers expect a number.
    is_common = all(target == targets[0] for target in targets)
    handler.target = targets[0] if is_common else targets
    return get_insights(prepared, inputs, handler.target)


def field_of(row: Any, name: str) -> Any:
    """A value of a form, or a member of a JSON body; None without one."""
    if not isinstance(row, dict):
        return None
    body = row.get("body")
    value = row.get(name)
    return body.get(name) if value is None and isinstance(body, dict) else value


def _target(row: Any) -> Any:
    value = field_of(row, "target") or 0
    if not isinstance(value, str | bytes | bytearray):
        return value
    try:
        return int(value)
    except ValueError as error:
        msg = f"The field 'target' must be the number of a class, not {value!r}."
        raise InvalidInput(msg) from error
