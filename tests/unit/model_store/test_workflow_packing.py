from __future__ import annotations

import zipfile
from dataclasses import replace
from pathlib import Path

import pytest

from tsl.model_store.store import ModelStore
from tsl.model_store.workflow_packing import WorkflowOrder, pack_workflow
from tsl.model_store.workflow_store import WorkflowRequest, WorkflowStore
from tsl.protocol.errors import ConfigError


@pytest.fixture
def order(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("src").mkdir()
    Path("src/h.py").write_text("def pre(data, context): return data\n")
    Path("src/spec.yaml").write_text("dag: {pre: []}\n")
    return WorkflowOrder(
        workflow_name="w", spec_file=Path("src/spec.yaml"), handler=Path("src/h.py")
    )


def members(path):
    with zipfile.ZipFile(path) as archive:
        return archive.namelist()


def test_an_archive_can_be_registered(order, tmp_path):
    packed = pack_workflow(order, tmp_path)

    assert packed.path == tmp_path / "w.war"
    assert packed.warnings == ()
    models = ModelStore(tmp_path, tmp_path / "work")
    store = WorkflowStore(tmp_path, tmp_path / "work", models)
    workflow = store.resolve(WorkflowRequest(url="w.war"))
    assert (workflow.name, workflow.handler) == ("w", "h.py")


def test_the_same_input_gives_the_same_bytes(order, tmp_path):
    first = pack_workflow(order, tmp_path / "one").path.read_bytes()
    for name in ("h.py", "spec.yaml"):
        Path("src", name).touch()

    assert pack_workflow(order, tmp_path / "two").path.read_bytes() == first


def test_extra_files_and_folders_are_packed(order, tmp_path):
    Path("data/deep").mkdir(parents=True)
    Path("data/deep/b").write_text("b")
    Path("a.txt").write_text("a")

    packed = pack_workflow(replace(order, extra_files=("a.txt", "data")), tmp_path / "out")

    assert members(packed.path)[1:] == ["a.txt", "deep/b", "h.py", "spec.yaml"]


def test_a_workflow_of_models_needs_no_handler(order, tmp_path):
    Path("src/spec.yaml").write_text("models: {m: {url: m.mar}}\ndag: {m: []}\n")

    packed = pack_workflow(replace(order, handler=None), tmp_path)

    assert packed.warnings == ()
    assert b'"handler"' not in zipfile.ZipFile(packed.path).read("WAR-INF/MANIFEST.json")


@pytest.mark.parametrize(
    ("spec", "handler", "word"),
    [
        ("dag: {pre: [pre]}", "src/h.py", "Self loop"),
        ("dag: {gone: []}", "src/h.py", "gone"),
        ("dag: {pre: []}", None, "--handler with pre"),
        ("models: {spare: {url: s.mar}}\ndag: {pre: []}", "src/h.py", "'spare'"),
        ("dag: [", "src/h.py", "YAML"),
    ],
)
def test_what_the_server_would_say_is_said_while_packing(order, tmp_path, spec, handler, word):
    Path("src/spec.yaml").write_text(spec)

    packed = pack_workflow(replace(order, handler=handler and Path(handler)), tmp_path)

    assert any(word in warning for warning in packed.warnings)
    assert packed.path.is_file()


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"workflow_name": "a b"}, "--workflow-name"),
        ({"spec_file": Path("gone.yaml")}, "--spec-file"),
        ({"spec_file": Path("src")}, "--spec-file"),
        ({"handler": Path("gone.py")}, "--handler"),
        ({"extra_files": ("gone",)}, "--extra-files"),
    ],
)
def test_what_cannot_be_packed_is_refused(order, tmp_path, changes, word):
    with pytest.raises(ConfigError, match=word):
        pack_workflow(replace(order, **changes), tmp_path / "out")

    assert not (tmp_path / "out").exists()


def test_all_mistakes_are_told_at_once(order, tmp_path):
    wrong = replace(order, workflow_name="a b", handler=Path("gone.py"), extra_files=("gone",))

    with pytest.raises(ConfigError) as caught:
        pack_workflow(wrong, tmp_path)

    assert len(caught.value.problems) == 3


def test_an_archive_is_replaced_only_when_asked(order, tmp_path):
    pack_workflow(order, tmp_path)

    with pytest.raises(ConfigError, match="--force"):
        pack_workflow(order, tmp_path)
    pack_workflow(order, tmp_path, overwrite=True)
