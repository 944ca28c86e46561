"""Small functions that handlers import: class look-up, label mappings, deprecation marks.

Nothing here knows about requests, workers or torch; every function can be called from any
script. The names are those that handlers already use.
"""

from __future__ import annotations

import functools
import importlib
import inspect
import json
import logging
import re
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from enum import Enum
from pathlib import Path
from types import ModuleType
from typing import Any, Final, ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")

logger = logging.getLogger(__name__)

CLEANUP_REGEX: Final = re.compile(
    r"<.*?>|&(?:[a-zA-Z0-9]+|#[0-9]{1,7}|#[xX][0-9a-fA-F]{1,6});",
)
"""HTML tags and character entities."""


class PT2Backend(str, Enum):  # noqa: UP042  # str() of a member must stay what handlers print
    """Back ends of ``torch.compile`` that a ``pt2`` configuration may name."""

    EAGER = "eager"
    AOT_EAGER = "aot_eager"
    INDUCTOR = "inductor"
    NVFUSER = "nvfuser"
    AOT_NVFUSER = "aot_nvfuser"
    AOT_CUDAGRAPHS = "aot_cudagraphs"
    OFI = "ofi"
    FX2TRT = "fx2trt"
    ONNXRT = "onnxrt"
    IPEX = "ipex"
    TORCHXLA_TRACE_ONCE = "torchxla_trace_once"
    OPENVINO = "openvino"
    TORCH_TENSORRT = "tensorrt"
    HPU_BACKEND = "hpu_backend"


class PredictionException(Exception):
    """Raised by a handler to answer with a status and a message of its own.

    Args:
        message: text for the client.
        error_code: HTTP status, 200 to 599.
    """

    def __init__(self, message: str, error_code: int = 500) -> None:
        self.message = message
        self.error_code = error_code
        super().__init__(message, error_code)

    def __str__(self) -> str:
        return f"{self.message} : {self.error_code}"


def list_classes_from_module(
    module: ModuleType, parent_class: type | None = None
) -> list[type[Any]]:
    """Classes that a module defines itself (imported ones do not count), sorted by name.

    Args:
        module: the module to look into.
        parent_class: keep only this class and its subclasses.
    """
    own = [
        cls
        for _, cls in inspect.getmembers(module, inspect.isclass)
        if cls.__module__ == module.__name__
    ]
    if parent_class is None:
        return own
    return [cls for cls in own if issubclass(cls, parent_class)]


def import_class(class_name: str, module_prefix: str | None = None) -> type[Any]:
    """Import a class by its name.

    Args:
        class_name: dotted (``package.module.Class``), or the bare name with a prefix.
        module_prefix: module that the name is looked up in.

    Raises:
        ImportError: there is no such module or class.
    """
    full_name = f"{module_prefix}.{class_name}" if module_prefix else class_name
    module_name, _, name = full_name.rpartition(".")
    if not module_name:
        msg = f"{class_name!r} has no module; write module.{class_name}"
        raise ImportError(msg)
    found = getattr(importlib.import_module(module_name), name, None)
    if not isinstance(found, type):
        msg = f"module {module_name} has no class {name}"
        raise ImportError(msg)  # noqa: TRY004  # handlers catch this one
    return found


def load_label_mapping(
    mapping_file_path: str | Path,
) -> dict[str, str] | None:
    """Read ``index_to_name.json``: class index (as text) to label.

    Args:
        mapping_file_path: a JSON object ``{"0": "cat"}``. A list as value stands for its last
            item (``["n02123045", "tabby"]``); the older form
            ``{"object_type_names": ["cat", "dog"]}`` is numbered from 0.

    Returns:
        The mapping, or None when there is no such file.

    Raises:
        ValueError: the file is no JSON object, or a label is neither text nor a list.
    """
    path = Path(mapping_file_path)
    if not path.is_file():
        logger.warning("There is no %s; predictions carry class numbers, not labels.", path.name)
        return None
    try:
        mapping = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:
        msg = f"{path.name} is not valid JSON: {error}"
        raise ValueError(msg) from error
    if not isinstance(mapping, dict):
        msg = f'{path.name} must be a JSON object such as {{"0": "cat"}}'
        raise ValueError(msg)  # noqa: TRY004  # the value of a file, not of an argument
    names = mapping.get("object_type_names")
    if isinstance(names, list):
        mapping = {str(index): name for index, name in enumerate(names)}
    return {key: _label(key, value, path.name) for key, value in mapping.items()}


def _label(key: str, value: object, file_name: str) -> str:
    if isinstance(value, list) and value:
        value = value[-1]
    if not isinstance(value, str):
        msg = f"{file_name}: the label of {key!r} must be text or a list that ends with text"
        raise ValueError(msg)  # noqa: TRY004  # the value of a file, not of an argument
    return value


def map_class_to_label(
    probs: Sequence[Sequence[float]],
    mapping: Mapping[str, str] | None = None,
    lbl_classes: Iterable[Sequence[int]] | None = None,
) -> list[dict[str, float]]:
    """Turn rows of probabilities into ``{label: probability}``, in the order given.

    When two classes share a label, the higher probability stands.

    Args:
        probs: one row per input.
        mapping: label of each class number (as text); without it the number is the label.
        lbl_classes: class number of each probability, same shape as ``probs``; default is the
            position in the row.

    Raises:
        KeyError: ``mapping`` lacks a class.
    """
    if lbl_classes is None:
        lbl_classes = [range(len(row)) for row in probs]
    answer = []
    for row, classes in zip(probs, lbl_classes, strict=False):
        labelled: dict[str, float] = {}
        for probability, number in zip(row, classes, strict=False):
            label = str(number) if mapping is None else mapping[str(number)]
            if label not in labelled or probability > labelled[label]:
                labelled[label] = probability
        answer.append(labelled)
    return answer


def get_yaml_config(yaml_file_path: str | Path) -> Any:
    """Read a YAML file, without the tags that would build Python objects.

    Raises:
        OSError: the file cannot be read.
        yaml.YAMLError: it is not YAML.
    """
    import yaml  # most workers never read one

    with Path(yaml_file_path).open("rb") as file:
        return yaml.safe_load(file)


def deprecated(
    version: str,
    replacement: str = "",
    klass: type[Warning] = PendingDeprecationWarning,
) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """Decorate a function so that every call warns.

    Args:
        version: the release that deprecates it.
        replacement: what to call instead.
        klass: category of the warning.
    """

    def decorate(func: Callable[P, R]) -> Callable[P, R]:
        text = f"{func.__qualname__} is deprecated since version {version}"
        if replacement:
            text += f"; use {replacement}"

        @functools.wraps(func)
        def warn_and_call(*args: P.args, **kwargs: P.kwargs) -> R:
            warnings.warn(text, klass, stacklevel=2)
            return func(*args, **kwargs)

        return warn_and_call

    return decorate


def check_valid_pt2_backend(backend: str) -> bool:
    """Whether ``torch.compile`` back ends of a ``pt2`` configuration include this name."""
    known = [member.value for member in PT2Backend]
    if backend in known:
        return True
    logger.warning("%r is no torch.compile back end; known are %s.", backend, ", ".join(known))
    return False
