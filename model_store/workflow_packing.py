"""Make a workflow archive: a zip file that has the same bytes for the same input.

The rules are those of model archives, see `packing`: nothing comes from the clock, and whoever
reads the export path sees the old archive or the new one.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from tsl.protocol.errors import ConfigError
from tsl.protocol.workflow_errors import InvalidDag, InvalidWorkflow

from .model_yaml import MAX_YAML_BYTES
from .packing import (
    DEFAULT_CREATED_ON,
    MODEL_NAME,
    ArchiveFormat,
    PackedModel,
    archiver_version,
    output_problems,
    replaced_file,
    system_errors,
)
from .packing_members import select_files
from .packing_writers import write_zip
from .unpacking import Progress
from .workflow_functions import check_functions
from .workflow_manifest import WORKFLOW_MANIFEST_PATH
from .workflow_spec import WorkflowSpec


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkflowOrder:
    """What to pack.

    Attributes:
        workflow_name: name of the workflow and of the archive's file.
        spec_file: its specification, in YAML.
        handler: Python file with its functions; None for a workflow of models only.
        extra_files: files, folders (their content is packed) and patterns with wildcards.
    """

    workflow_name: str
    spec_file: Path
    handler: Path | None = None
    extra_files: tuple[str, ...] = ()


def pack_workflow(
    order: WorkflowOrder,
    export_path: Path,
    *,
    overwrite: bool = False,
    created_on: datetime = DEFAULT_CREATED_ON,
    manifest: bytes | None = None,
    on_progress: Progress | None = None,
) -> PackedModel:
    """Pack a workflow.

    A specification that the server would refuse is packed all the same, as by TorchServe's
    archiver, but not without a warning.

    Args:
        order: what to pack.
        export_path: folder of the archive; created if it is missing.
        overwrite: replace an archive of that name.
        created_on: the time in the archive, see `creation_time`.
        manifest: content of its manifest; by default made of the order.
        on_progress: told about the bytes read.

    Raises:
        ConfigError: the order cannot be carried out; it has all reasons.
    """
    output = export_path / f"{order.workflow_name}.war"
    with system_errors(output):
        named = (("--spec-file", order.spec_file), ("--handler", order.handler))
        problems = _name_problems(order)
        selection = select_files(named, order.extra_files, left_out=None if problems else output)
        problems += selection.problems
        problems += output_problems(output, ArchiveFormat.DEFAULT, overwrite=overwrite)
        if problems:
            raise ConfigError(*problems)
        members: dict[str, bytes | Path] = {
            str(WORKFLOW_MANIFEST_PATH): manifest or workflow_manifest(order, created_on),
            **dict(sorted(selection.members.items())),
        }
        export_path.mkdir(parents=True, exist_ok=True)
        with replaced_file(output) as file:
            write_zip(file, members, created_on, is_compressed=True, on_progress=on_progress)
        size_bytes = output.stat().st_size
        return PackedModel(output, size_bytes, (*selection.warnings, *_spec_warnings(order)))


def workflow_manifest(order: WorkflowOrder, created_on: datetime = DEFAULT_CREATED_ON) -> bytes:
    """The content of ``WAR-INF/MANIFEST.json``.

    Args:
        order: what is packed.
        created_on: the time that it carries.
    """
    workflow = {"workflowName": order.workflow_name, "specFile": order.spec_file.name}
    if order.handler is not None:
        workflow["handler"] = order.handler.name
    document = {
        "createdOn": created_on.strftime("%d/%m/%Y %H:%M:%S"),
        "workflow": workflow,
        "archiverVersion": archiver_version(),
    }
    return json.dumps(document, indent=2).encode()


def _name_problems(order: WorkflowOrder) -> list[str]:
    if MODEL_NAME.fullmatch(order.workflow_name):
        return []
    return [
        f"--workflow-name: {order.workflow_name!r} is not allowed; it must begin with a letter or"
        " digit, and go on with letters, digits, '_', '-' and '.' only."
    ]


def _spec_warnings(order: WorkflowOrder) -> list[str]:
    """What the server would say about it."""
    with order.spec_file.open("rb") as file:
        text = file.read(MAX_YAML_BYTES + 1)
    try:
        spec = WorkflowSpec.parse(text)
        if spec.functions and order.handler is None:
            return [f"The dag needs a --handler with {', '.join(spec.functions)}."]
        if spec.functions and order.handler is not None:
            check_functions(order.handler, spec.functions)
    except (InvalidWorkflow, InvalidDag) as error:
        return [str(error)]
    return [f"{order.spec_file.name}: {warning}." for warning in spec.warnings]
