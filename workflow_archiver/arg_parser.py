"""The options of ``torch-workflow-archiver``.

They are read by argparse, because scripts rely on how it does that: options may be shortened,
and a wrong one ends the process with exit code 2.
"""

from __future__ import annotations

import argparse
import os


class ArgParser:
    """Makes the parser."""

    @staticmethod
    def workflow_archiver_args_parser() -> argparse.ArgumentParser:
        """A parser whose result `workflow_packaging.package_workflow` understands."""
        parser = argparse.ArgumentParser(
            prog="torch-workflow-archiver",
            description="Pack a workflow, its specification and its functions, for the server.",
        )
        parser.add_argument(
            "--workflow-name", required=True, help="name of the workflow and of the archive"
        )
        parser.add_argument("--spec-file", required=True, help="specification, in YAML")
        parser.add_argument(
            "--handler", help="Python file with the functions; not needed without functions"
        )
        parser.add_argument(
            "--extra-files",
            help="files, folders (their content is packed) and wildcards, separated by commas",
        )
        parser.add_argument(
            "--export-path",
            default=os.getcwd(),  # noqa: PTH109 - a text, as in the original
            help="folder of the archive, created if it is missing; default: this one",
        )
        parser.add_argument(
            "-f", "--force", action="store_true", help="replace an existing archive"
        )
        return parser
