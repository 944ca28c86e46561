"""What to pack, as scripts and the command line write it."""

from __future__ import annotations

import argparse
import os
from dataclasses import dataclass, field, fields
from typing import Literal


@dataclass
class ModelArchiverConfig:
    """What to pack; each attribute is the option of that name.

    Attributes:
        model_name: name of the model and of the archive.
        handler: file, ``file:function``, or name of a built-in handler.
        version: the model's version.
        serialized_file: weights.
        model_file: Python file with the model's class.
        extra_files: files, folders and wildcards, separated by commas.
        runtime: one of the values of `RuntimeType`.
        export_path: folder of the archive; the working folder if not given.
        archive_format: how to store it.
        force: replace an existing archive.
        requirements_file: Python packages that the handler needs.
        config_file: the model's settings, in YAML.
    """

    model_name: str
    handler: str
    version: str
    serialized_file: str | None = None
    model_file: str | None = None
    extra_files: str | None = None
    runtime: str = "python"
    export_path: str = field(default_factory=os.getcwd)
    archive_format: Literal["default", "tgz", "no-archive", "zip-store"] = "default"
    force: bool = False
    requirements_file: str | None = None
    config_file: str | None = None

    @classmethod
    def from_args(cls, args: argparse.Namespace) -> ModelArchiverConfig:
        """Take what a command line says.

        Args:
            args: result of the parser in `arg_parser`.
        """
        return cls(**{each.name: getattr(args, each.name) for each in fields(cls)})
