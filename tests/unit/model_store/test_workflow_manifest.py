from __future__ import annotations

import copy
import json

import pytest

from tsl.model_store.workflow_manifest import WORKFLOW_MANIFEST_PATH, WorkflowManifest
from tsl.protocol.workflow_errors import InvalidWorkflow

DOCUMENT = {
    "createdOn": "01/01/2020 00:00:00",
    "workflow": {"workflowName": "w", "specFile": "s.yaml", "handler": "h.py"},
    "archiverVersion": "0.2.15",
}


def changed(path, value):
    document = copy.deepcopy(DOCUMENT)
    *above, last = path.split(".")
    target = document
    for name in above:
        target = target[name]
    target[last] = value
    return json.dumps(document).encode()


def test_a_manifest_names_the_files():
    manifest = WorkflowManifest.parse(json.dumps(DOCUMENT).encode())

    assert manifest == WorkflowManifest(workflow_name="w", spec_file="s.yaml", handler="h.py")


@pytest.mark.parametrize("value", [None, ""])
def test_the_handler_may_be_missing(value):
    assert WorkflowManifest.parse(changed("workflow.handler", value)).handler is None


@pytest.mark.parametrize(
    ("path", "value", "word"),
    [
        ("createdOn", None, "createdOn"),
        ("archiverVersion", "", "archiverVersion"),
        ("workflow", None, "workflow"),
        ("workflow", [], "workflow"),
        ("workflow.workflowName", None, "workflowName"),
        ("workflow.workflowName", "a/b", "slash"),
        ("workflow.specFile", None, "specFile"),
        ("workflow.specFile", 3, "specFile"),
        ("workflow.specFile", "../s.yaml", "outside"),
        ("workflow.handler", "/etc/passwd", "outside"),
        ("workflow.handler", 3, "handler"),
    ],
)
def test_what_is_missing_or_wrong_is_named(path, value, word):
    with pytest.raises(InvalidWorkflow, match=word):
        WorkflowManifest.parse(changed(path, value))


@pytest.mark.parametrize("text", [b"", b"{", b"[]", b"3", b"\xff", b"[" * 100_000])
def test_what_is_no_manifest_is_refused(text):
    with pytest.raises(InvalidWorkflow):
        WorkflowManifest.parse(text)


def test_an_archive_without_a_manifest_is_refused(tmp_path):
    with pytest.raises(InvalidWorkflow, match=r"no WAR-INF/MANIFEST\.json"):
        WorkflowManifest.read(tmp_path)


def test_a_manifest_is_read_up_to_its_limit(tmp_path):
    path = tmp_path / WORKFLOW_MANIFEST_PATH
    path.parent.mkdir()
    path.write_bytes(json.dumps(DOCUMENT).encode())
    assert WorkflowManifest.read(tmp_path).workflow_name == "w"

    path.write_bytes(b" " * 2_000_000)
    with pytest.raises(InvalidWorkflow, match="larger"):
        WorkflowManifest.read(tmp_path)
