"""The manifest of a workflow archive: ``WAR-INF/MANIFEST.json``, parsed and checked."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any, Final

from tsl.protocol.errors import InvalidArchive
from tsl.protocol.workflow_errors import InvalidWorkflow

from .manifest import MAX_MANIFEST_BYTES
from .names import check_name
from .unpacking import safe_parts

WORKFLOW_MANIFEST_PATH: Final = PurePosixPath("WAR-INF", "MANIFEST.json")


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkflowManifest:
    """What a workflow archive says about itself.

    Attributes:
        workflow_name: name to register under, unless the request has another one.
        spec_file: YAML file with the specification, relative to the archive's folder.
        handler: Python file with the functions, relative to the archive's folder; None without.
    """

    workflow_name: str
    spec_file: str
    handler: str | None

    @classmethod
    def read(cls, folder: Path) -> WorkflowManifest:
        """Read the manifest of an unpacked archive.

        Raises:
            InvalidWorkflow: there is none, or it cannot be used.
        """
        try:
            with (folder / WORKFLOW_MANIFEST_PATH).open("rb") as file:
                text = file.read(MAX_MANIFEST_BYTES + 1)
        except (FileNotFoundError, NotADirectoryError) as error:
            msg = f"The archive has no {WORKFLOW_MANIFEST_PATH}."
            raise InvalidWorkflow(msg, hint="Build it with torch-workflow-archiver.") from error
        except OSError as error:
            msg = f"{WORKFLOW_MANIFEST_PATH} cannot be read: {error.strerror}."
            raise InvalidWorkflow(msg) from error
        if len(text) > MAX_MANIFEST_BYTES:
            msg = f"{WORKFLOW_MANIFEST_PATH} is larger than {MAX_MANIFEST_BYTES} bytes."
            raise InvalidWorkflow(msg)
        return cls.parse(text)

    @classmethod
    def parse(cls, text: bytes) -> WorkflowManifest:
        """Parse the content of ``MANIFEST.json``.

        Raises:
            InvalidWorkflow: it is not JSON, or a member is missing or has the wrong shape.
        """
        try:
            document = json.loads(text)
        except (ValueError, RecursionError) as error:
            msg = f"{WORKFLOW_MANIFEST_PATH} is not valid JSON: {error}."
            raise InvalidWorkflow(msg) from error
        if not isinstance(document, dict) or not isinstance(document.get("workflow"), dict):
            raise InvalidWorkflow(f'{WORKFLOW_MANIFEST_PATH} has no object "workflow".')
        for member in ("createdOn", "archiverVersion"):  # TorchServe demands them, too
            _text(document, member)
        workflow = document["workflow"]
        name = _text(workflow, "workflowName")
        check_name(name, "workflowName of the manifest", InvalidWorkflow)
        handler = _file_name(workflow, "handler") if workflow.get("handler") else None
        return cls(workflow_name=name, spec_file=_file_name(workflow, "specFile"), handler=handler)


def _text(members: dict[str, Any], key: str) -> str:
    value = members.get(key)
    if isinstance(value, str) and value:
        return value
    raise InvalidWorkflow(f'{WORKFLOW_MANIFEST_PATH} has no text "{key}".')


def _file_name(members: dict[str, Any], key: str) -> str:
    name = _text(members, key)
    try:
        return "/".join(safe_parts(name))
    except InvalidArchive as error:
        msg = f'"{key}" of {WORKFLOW_MANIFEST_PATH} names a file outside of the archive: {name!r}.'
        raise InvalidWorkflow(msg) from error
