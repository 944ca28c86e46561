"""The names of the original's package, and that they pack."""

import importlib
import json
import logging
import zipfile

import pytest

from workflow_archiver.arg_parser import ArgParser
from workflow_archiver.workflow_archiver_error import WorkflowArchiverError
from workflow_archiver.workflow_packaging import generate_workflow_archive, package_workflow
from workflow_archiver.workflow_packaging_utils import WorkflowExportUtils

NAMES = {
    "workflow_archiver": ["__version__"],
    "workflow_archiver.arg_parser": ["ArgParser"],
    "workflow_archiver.version": ["__version__"],
    "workflow_archiver.workflow_archiver_error": ["WorkflowArchiverError"],
    "workflow_archiver.workflow_packaging": ["generate_workflow_archive", "package_workflow"],
    "workflow_archiver.workflow_packaging_utils": [
        "MANIFEST_FILE_NAME",
        "WAR_INF",
        "WorkflowExportUtils",
        "zipfile",
    ],
}
WORDS = ["--workflow-name", "w", "--spec-file", "spec.yaml", "--handler", "h.py"]


@pytest.fixture(autouse=True)
def folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "h.py").write_text("def pre(data, context): return data\n")
    (tmp_path / "spec.yaml").write_text("dag: {pre: []}\n")
    return tmp_path


def parse(*words):
    return ArgParser.workflow_archiver_args_parser().parse_args(words)


@pytest.mark.parametrize("module", NAMES)
def test_the_original_s_names_are_there(module):
    found = importlib.import_module(module)

    assert [name for name in NAMES[module] if not hasattr(found, name)] == []


def test_the_options_are_packed(folder):
    args = parse(*WORDS, "--export-path", "out")

    package_workflow(args, WorkflowExportUtils.generate_manifest_json(args))

    with zipfile.ZipFile(folder / "out" / "w.war") as archive:
        assert archive.namelist() == ["WAR-INF/MANIFEST.json", "h.py", "spec.yaml"]
        manifest = json.loads(archive.read("WAR-INF/MANIFEST.json"))
    assert manifest["workflow"] == {
        "workflowName": "w",
        "specFile": "spec.yaml",
        "handler": "h.py",
    }
    assert manifest["createdOn"] == "01/01/1980 00:00:00"
    assert manifest["archiverVersion"]


def test_a_manifest_of_one_s_own_is_packed_as_it_is(folder):
    package_workflow(parse(*WORDS), '{"own": true}')

    with zipfile.ZipFile(folder / "w.war") as archive:
        assert archive.read("WAR-INF/MANIFEST.json") == b'{"own": true}'


def test_the_words_of_the_process_are_read(folder, monkeypatch):
    monkeypatch.setattr("sys.argv", ["torch-workflow-archiver", *WORDS])

    generate_workflow_archive()

    assert (folder / "w.war").exists()


def test_defaults_are_the_original_s(folder):
    args = parse("--workflow-name", "w", "--spec-file", "s")

    assert vars(args) == {
        "workflow_name": "w",
        "spec_file": "s",
        "handler": None,
        "extra_files": None,
        "export_path": str(folder),
        "force": False,
    }


def test_mistakes_raise_the_original_s_error():
    with pytest.raises(WorkflowArchiverError, match=r"gone\.yaml"):
        package_workflow(parse("--workflow-name", "w", "--spec-file", "gone.yaml"))


def test_warnings_are_logged(folder, caplog):
    (folder / "spec.yaml").write_text("dag: {gone: []}\n")

    with caplog.at_level(logging.WARNING, "tsl.model_store.archiver"):
        package_workflow(parse(*WORDS))

    assert "gone" in caplog.text
