"""Find the handler in a model and make a `Service` of it.

Follows TorchServe's rules for handler strings step by step: a module of the archive first, then
a built-in handler; a function before a class. Changes neither the working directory nor
``sys.path``: that is `__main__`'s business.
"""

from __future__ import annotations

import importlib
import json
import uuid
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any, Final, TypeVar

from tsl.protocol.errors import LoadFailed, LoadOutOfMemory
from tsl.protocol.frames import Load

from .context import Context
from .envelopes import load_envelope
from .legacy_service import LegacyService
from .metrics import MetricsCache, MetricSink
from .service import MAX_RESPONSE_BYTES, EntryPoint, Service
from .util import list_classes_from_module

DEFAULT_FUNCTION: Final = "handle"
BUILT_IN: Final = ("tsl.backend.handlers", "ts.torch_handler")
"""Packages whose modules are handlers by name; the second one for modules added to it."""

Initialize = Callable[[Context], object]
S = TypeVar("S", bound=Service)


class ModelLoader:
    """Loads models, the way a `Load` frame describes them."""

    @staticmethod
    def load(load: Load, sink: MetricSink) -> Service:
        """Load a model.

        Args:
            load: what to load.
            sink: gets the handler's metric updates.

        Returns:
            A service that is ready for batches.

        Raises:
            Exception: whatever import, constructor or ``initialize`` raised, unchanged; see
                `load_error_code`.
        """
        return _load(
            load.model_name,
            load.model_dir,
            load.handler,
            load.gpu_id if load.gpu_id >= 0 else None,
            load.batch_size,
            load.envelope,
            load.limit_max_image_pixels,
            MetricsCache.from_config(load.metrics_config, load.model_name, sink, tolerant=True),
            service_class=Service,
            decode_input=load.decode_input,
            max_response_bytes=load.max_response_bytes,
        )


class TsModelLoader:
    """The loader as tests and tools of handlers know it."""

    def load(
        self,
        model_name: str,
        model_dir: str,
        handler: str | None = None,
        gpu_id: int | None = None,
        batch_size: int | None = None,
        envelope: str | None = None,
        limit_max_image_pixels: bool = True,
        metrics_cache: Any = None,
    ) -> LegacyService:
        """Load a model; ``model_dir`` must be on ``sys.path``.

        Args:
            model_name: name of the model.
            model_dir: folder with the handler and its files.
            handler: handler string; that of the manifest when None.
            gpu_id: accelerator to use, None for the CPU.
            batch_size: rows per batch at most; 1 when None.
            envelope: name of a request envelope.
            limit_max_image_pixels: whether Pillow's decompression-bomb limit stays on.
            metrics_cache: the handler's ``context.metrics``.

        Raises:
            Exception: whatever import, constructor or ``initialize`` raised, unchanged.
        """
        if handler is None:
            handler = str(((read_manifest(model_dir) or {}).get("model") or {}).get("handler"))
        return _load(
            model_name,
            model_dir,
            handler,
            gpu_id,
            batch_size or 1,
            envelope or "",
            limit_max_image_pixels,
            metrics_cache,
            service_class=LegacyService,
        )


class ModelLoaderFactory:
    """Kept for its name in ``ts.model_loader``."""

    @staticmethod
    def get_model_loader() -> TsModelLoader:
        """The one loader there is."""
        return TsModelLoader()


def load_error_code(error: BaseException) -> str:
    """Code of the error class that a failure to load is reported as."""
    if isinstance(error, MemoryError) or (isinstance(error, RuntimeError) and "CUDA" in str(error)):
        return LoadOutOfMemory.code
    return LoadFailed.code


def _load(
    model_name: str,
    model_dir: str,
    handler: str,
    gpu_id: int | None,
    batch_size: int,
    envelope: str,
    limit_max_image_pixels: bool,
    metrics_cache: Any,
    *,
    service_class: type[S],
    decode_input: bool = True,
    max_response_bytes: int = MAX_RESPONSE_BYTES,
) -> S:
    service = service_class(
        model_name,
        model_dir,
        read_manifest(model_dir),
        None,
        gpu_id,
        batch_size,
        limit_max_image_pixels,
        metrics_cache,
        decode_input=decode_input,
        max_response_bytes=max_response_bytes,
    )
    if metrics_cache is not None:  # updates made while loading count as the model's, not errors
        metrics_cache.set_request_ids(str(uuid.uuid4()))
    entry_point, initialize = find_entry_point(handler)
    initialize(service.context)
    yaml = service.context.model_yaml_config
    if isinstance(yaml, dict) and yaml.get("inputFormat") == "tensors":
        envelope = "tensor_rows"  # says more about this model than the server's setting
        service.decode_input = False  # the envelope reads documents itself
    if envelope:
        wrap: Any = load_envelope(envelope)
        entry_point = wrap(entry_point).handle
    service.entry_point = entry_point
    return service


def read_manifest(model_dir: str) -> dict[str, Any] | None:
    """Read the manifest of an unpacked archive.

    Returns:
        The parsed file, None when there is none.

    Raises:
        ValueError: the file is not a JSON object.
    """
    path = Path(model_dir, "MAR-INF", "MANIFEST.json")
    if not path.is_file():
        return None
    manifest = json.loads(path.read_bytes())
    if not isinstance(manifest, dict):
        msg = f"{path.name} must be a JSON object"
        raise ValueError(msg)  # noqa: TRY004  # the value of a file, not of an argument
    return manifest


def find_entry_point(handler: str) -> tuple[EntryPoint, Initialize]:
    """Import a handler.

    Args:
        handler: ``module``, ``module.py``, ``module:function`` or the name of a built-in one; of
            a path, only the last component counts.

    Returns:
        What to call for a batch, and what to call once before, with the context.

    Raises:
        ModuleNotFoundError: there is no such module, in the model or built in.
        ValueError: the module has neither the function nor exactly one class.
        AttributeError: its class lacks ``handle`` or ``initialize``.
    """
    path, _, function = handler.partition(":")
    module = _import_handler(path.removesuffix(".py").rpartition("/")[2])
    entry_point = getattr(module, function or DEFAULT_FUNCTION, None)
    if entry_point is not None:
        return entry_point, lambda context: entry_point(None, context)
    classes = list_classes_from_module(module)
    if len(classes) != 1:
        names = [each.__name__ for each in classes]
        msg = f"Expected only one class in custom service code or a function entry point {names}"
        raise ValueError(msg)
    instance = classes[0]()
    return instance.handle, instance.initialize


def _import_handler(name: str) -> ModuleType:
    """Import the model's own module, else a built-in handler.

    Only the absence of the module itself leads on to the next place. When it exists but
    something that it imports does not, that is the error to report.
    """
    for full_name in (name, *(f"{package}.{name}" for package in BUILT_IN)):
        try:
            return importlib.import_module(full_name)
        except ModuleNotFoundError as error:
            is_absent = error.name is not None and f"{full_name}.".startswith(f"{error.name}.")
            if not is_absent:
                raise
    msg = f"no module {name!r} in the model, and no built-in handler of that name"
    raise ModuleNotFoundError(msg, name=name)
