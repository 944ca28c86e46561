"""The options of ``torch-model-archiver``.

They are read by argparse, because scripts rely on how it does that: options may be shortened,
and a wrong one ends the process with exit code 2.
"""

from __future__ import annotations

import argparse
import os

from ..packing import ArchiveFormat
from .manifest import RuntimeType


class ArgParser:
    """Makes the parser."""

    @staticmethod
    def export_model_args_parser() -> argparse.ArgumentParser:
        """A parser whose result `ModelArchiverConfig.from_args` understands."""
        parser = argparse.ArgumentParser(
            prog="torch-model-archiver",
            description="Pack a PyTorch model and its handler for the model server.",
        )
        required = parser.add_argument_group("required")
        required.add_argument(
            "--model-name", required=True, help="name of the model and of the archive"
        )
        required.add_argument(
            "--handler",
            required=True,
            help="the handler's file, FILE:FUNCTION, or the name of a built-in handler",
        )
        required.add_argument("-v", "--version", required=True, help="the model's version")
        _add_files(parser)
        _add_output(parser)
        return parser


def _add_files(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--serialized-file", help="weights: .pt, .pth, .onnx, ...")
    parser.add_argument("--model-file", help="Python file with the model's class")
    parser.add_argument(
        "--extra-files",
        help="files, folders (their content is packed) and wildcards, separated by commas",
    )
    parser.add_argument("-r", "--requirements-file", help="Python packages that the handler needs")
    parser.add_argument("-c", "--config-file", help="the model's settings, in YAML")


def _add_output(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--runtime",
        choices=[each.value for each in RuntimeType],
        default=RuntimeType.PYTHON.value,
        help="language of the handler; default: %(default)s",
    )
    parser.add_argument(
        "--export-path",
        default=os.getcwd(),  # noqa: PTH109 - a text, as in the original
        help="folder of the archive, created if it is missing; default: this one",
    )
    parser.add_argument(
        "--archive-format",
        choices=[each.value for each in ArchiveFormat],
        default=ArchiveFormat.DEFAULT.value,
        help="default: .mar; zip-store: .mar without compression; tgz: .tar.gz;"
        " no-archive: a folder",
    )
    parser.add_argument("-f", "--force", action="store_true", help="replace an existing archive")
