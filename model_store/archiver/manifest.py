"""A manifest as objects, for scripts that write one themselves."""

from __future__ import annotations

import json
import os
from enum import Enum
from typing import Any

from ..packing import creation_time, manifest_document


class RuntimeType(Enum):
    """Runtimes of the manifest."""

    PYTHON = "python"
    PYTHON3 = "python3"
    LSP = "LSP"


class Model:
    """The manifest's member ``model``.

    Args:
        model_name: name of the model.
        serialized_file: name of the file with the weights, or None.
        handler: handler string.
        model_file: name of the Python file with the model's class.
        model_version: the model's version.
        extensions: anything.
        requirements_file: name of the list of Python packages.
        config_file: name of the file with the model's settings.
    """

    def __init__(
        self,
        model_name: str,
        serialized_file: str | None,
        handler: str,
        model_file: str | None = None,
        model_version: str | None = None,
        extensions: Any = None,
        requirements_file: str | None = None,
        config_file: str | None = None,
    ) -> None:
        self.model_name = model_name
        self.serialized_file = serialized_file
        self.handler = handler
        self.model_file = model_file
        self.model_version = model_version
        self.extensions = extensions
        self.requirements_file = requirements_file
        self.config_file = config_file
        self.model_dict = self.__to_dict__()

    def __to_dict__(self) -> dict[str, Any]:
        """The JSON object, without what is not given."""
        entry = {
            "modelName": self.model_name,
            "serializedFile": self.serialized_file,
            "handler": self.handler,
            "modelFile": self.model_file,
            "modelVersion": self.model_version,
            "extensions": self.extensions,
            "requirementsFile": self.requirements_file,
            "configFile": self.config_file,
        }
        return {key: value for key, value in entry.items() if value}

    def __repr__(self) -> str:
        return json.dumps(self.__to_dict__())


class Manifest:
    """A whole manifest.

    Args:
        runtime: one of the values of `RuntimeType`.
        model: its member ``model``.
    """

    def __init__(self, runtime: str, model: Model) -> None:
        self.runtime = runtime
        self.model = model
        self.creation_time = creation_time(os.environ)
        self.manifest_dict = self.__to_dict__()

    def __to_dict__(self) -> dict[str, Any]:
        """The JSON object."""
        return manifest_document(self.model.__to_dict__(), self.runtime, self.creation_time)

    def __repr__(self) -> str:
        return json.dumps(self.__to_dict__(), indent=2)
