from __future__ import annotations

import hashlib
import json

import pytest

from tsl.model_store.config import ServerDefaults
from tsl.model_store.store import ModelStore
from tsl.model_store.workflow_store import WorkflowRequest, WorkflowStore
from tsl.protocol.errors import (
    Conflict,
    InvalidArchive,
    InvalidParameter,
    ModelNotFound,
    UrlNotAllowed,
)
from tsl.protocol.workflow_errors import (
    InvalidDag,
    InvalidWorkflow,
    WorkflowNotFound,
    WorkflowUrlNotAllowed,
)

SPEC = """
models:
  batch-size: 4
  timeout-ms: 500
  m:
    url: echo.mar
    max-workers: 2
    max-batch-delay: 7
dag:
  pre: [m]
"""
HANDLER = "def pre(data, context): return data\n"


@pytest.fixture
def root(tmp_path):
    folder = tmp_path / "store"
    folder.mkdir()
    return folder


@pytest.fixture
def models(root, tmp_path, write_zip, model_files):
    write_zip(root / "echo.mar", model_files(modelVersion="2.5"))
    return ModelStore(root, tmp_path / "work")


@pytest.fixture
def store(root, tmp_path, models):
    defaults = ServerDefaults(response_timeout_s=33, job_queue_size=9)
    return WorkflowStore(root, tmp_path / "work", models, defaults=defaults)


@pytest.fixture
def war(root, write_zip):
    """Writes a workflow archive."""

    def write(name="w", spec=SPEC, handler=HANDLER, folder=root, **manifest):
        workflow = {"workflowName": name, "specFile": "spec.yaml", "handler": "h.py", **manifest}
        document = {"createdOn": "1", "archiverVersion": "1", "workflow": workflow}
        files = {"WAR-INF/MANIFEST.json": json.dumps(document), "spec.yaml": spec, "h.py": handler}
        return write_zip(folder / f"{name}.war", files)

    return write


def unpacked(tmp_path):
    return list((tmp_path / "work" / "workflows").iterdir())


def test_an_archive_of_the_store_becomes_a_workflow(store, war, tmp_path):
    war()

    workflow = store.resolve(WorkflowRequest(url="w.war"))

    assert (workflow.name, workflow.url, workflow.handler) == ("w", "w.war", "h.py")
    assert list(workflow.spec.nodes) == ["pre", "m"]
    assert workflow.model_name("pre") == "w__pre"
    store.remove(workflow)
    assert unpacked(tmp_path) == []


def test_a_tar_gz_is_an_archive_too(store, root, write_tar):
    document = {
        "createdOn": "1",
        "archiverVersion": "1",
        "workflow": {"workflowName": "t", "specFile": "s.yaml", "handler": "h.py"},
    }
    files = {
        "WAR-INF/MANIFEST.json": json.dumps(document).encode(),
        "s.yaml": b"dag: {pre: []}",
        "h.py": HANDLER.encode(),
    }
    write_tar(root / "t.tar.gz", files)

    assert store.resolve(WorkflowRequest(url="t.tar.gz")).name == "t"


def test_the_request_may_name_it(store, war):
    war()

    assert store.resolve(WorkflowRequest(url="/any/w.war", workflow_name="x")).name == "x"
    with pytest.raises(InvalidParameter):
        store.resolve(WorkflowRequest(url="w.war", workflow_name="a/b"))


def test_a_model_node_is_a_version_with_the_settings_of_its_node(store, models, war):
    war()
    workflow = store.resolve(WorkflowRequest(url="w.war", response_timeout_s=5))

    version = store.resolve_node(workflow, workflow.spec.nodes["m"])

    assert (version.name, version.version, version.workflow) == ("w__m", "2.5", "w")
    assert not version.is_function
    config = version.config
    assert (config.min_workers, config.max_workers, config.batch_size) == (2, 2, 4)
    assert (config.max_batch_delay_ms, config.response_timeout_s) == (7, 5)
    models.remove(version)


def test_a_function_node_is_a_version_of_the_handler_file(store, models, war):
    war()
    workflow = store.resolve(WorkflowRequest(url="w.war"))

    version = store.resolve_node(workflow, workflow.spec.nodes["pre"])

    assert (version.name, version.version, version.handler) == ("w__pre", "1.0", "h.py:pre")
    assert version.is_function
    assert (version.model_dir / "h.py").read_text() == HANDLER
    config = version.config
    assert (config.min_workers, config.max_workers, config.batch_size) == (1, 1, 1)
    assert (config.max_batch_delay_ms, config.response_timeout_s) == (0, 33)
    assert config.job_queue_size == 9
    models.remove(version)
    assert version.model_dir.is_dir()  # it is the workflow's


def test_a_node_without_an_archive_is_not_found(store, war):
    war(spec="models:\n  m: {url: gone.mar}\ndag:\n  m: []\n")
    workflow = store.resolve(WorkflowRequest(url="w.war"))

    with pytest.raises(ModelNotFound):
        store.resolve_node(workflow, workflow.spec.nodes["m"])


@pytest.mark.parametrize("url", ["gone.war", "", "/", "x" * 5000, "a\0b"])
def test_what_is_not_there_is_not_found(store, url):
    with pytest.raises(WorkflowNotFound, match="not found"):
        store.resolve(WorkflowRequest(url=url))


@pytest.mark.parametrize("url", ["../w.war", "ftp://h/w.war", "http://h/../w.war"])
def test_what_may_not_be_read_is_not_found_either(store, war, url):
    war()

    with pytest.raises(WorkflowUrlNotAllowed):
        store.resolve(WorkflowRequest(url=url))


def test_without_a_workflow_store_there_are_no_workflows(models, tmp_path):
    for root in (None, tmp_path / "gone"):
        store = WorkflowStore(root, tmp_path / "work", models)
        with pytest.raises(WorkflowNotFound, match="--workflow-store"):
            store.resolve(WorkflowRequest(url="w.war"))


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"spec": "dag: {pre: [gone]}"}, InvalidWorkflow),
        ({"spec": "dag: {pre: [pre]}"}, InvalidDag),
        ({"spec": "dag: ["}, InvalidWorkflow),
        ({"handler": "def pre("}, InvalidWorkflow),
        ({"specFile": "gone.yaml"}, InvalidWorkflow),
        ({"handler": "", "spec": "models: {m: {url: x}}\ndag: {m: [f]}"}, InvalidWorkflow),
    ],
    ids=["no function", "loop", "no yaml", "no python", "no spec", "empty handler"],
)
def test_an_archive_that_cannot_be_used_leaves_nothing_behind(store, war, tmp_path, changes, error):
    war(**changes)

    with pytest.raises(error):
        store.resolve(WorkflowRequest(url="w.war"))

    assert unpacked(tmp_path) == []


def test_functions_need_a_handler(store, root, write_zip):
    document = {
        "createdOn": "1",
        "archiverVersion": "1",
        "workflow": {"workflowName": "w", "specFile": "s.yaml"},
    }
    files = {"WAR-INF/MANIFEST.json": json.dumps(document), "s.yaml": "dag: {pre: []}"}
    write_zip(root / "w.war", files)

    with pytest.raises(InvalidWorkflow, match="no handler file: pre"):
        store.resolve(WorkflowRequest(url="w.war"))


def test_what_is_no_archive_is_refused(store, root):
    (root / "w.war").write_bytes(b"hello")

    with pytest.raises(InvalidWorkflow, match="neither a zip"):
        store.resolve(WorkflowRequest(url="w.war"))


def test_a_download_is_kept_as_long_as_the_workflow(store, root, war, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    url = war(folder=elsewhere).as_uri()

    workflow = store.resolve(WorkflowRequest(url=url))

    assert (workflow.url, (root / "w.war").is_file()) == (url, True)
    with pytest.raises(Conflict):
        store.resolve(WorkflowRequest(url=url))
    store.remove(workflow)
    assert not (root / "w.war").exists()


def test_a_download_that_cannot_be_used_is_deleted(store, root, war, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    url = war(folder=elsewhere, spec="dag: {}").as_uri()

    with pytest.raises(InvalidDag):
        store.resolve(WorkflowRequest(url=url))

    assert not (root / "w.war").exists()


def test_the_list_of_allowed_urls_counts(root, tmp_path, models, war):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    url = war(folder=elsewhere).as_uri()
    store = WorkflowStore(root, tmp_path / "work", models, allowed_urls="https://good/.*")

    with pytest.raises(WorkflowUrlNotAllowed) as caught:
        store.resolve(WorkflowRequest(url=url))

    assert caught.value.type_name == "WorkflowNotFoundException"
    assert not isinstance(caught.value, UrlNotAllowed)


def test_an_archive_must_have_the_digest_that_was_asked_for(store, war, root, tmp_path):
    digest = hashlib.sha256(war().read_bytes()).hexdigest()

    for wanted in (digest, digest.upper()):
        store.remove(store.resolve(WorkflowRequest(url="w.war", sha256=wanted)))
    with pytest.raises(InvalidArchive, match=digest):
        store.resolve(WorkflowRequest(url="w.war", sha256="0" * 64))
    with pytest.raises(InvalidParameter, match="sha256"):
        store.resolve(WorkflowRequest(url="w.war", sha256="0"))
    assert (root / "w.war").exists()
    assert unpacked(tmp_path) == []


def test_a_download_of_another_digest_leaves_nothing_behind(store, war, root, tmp_path):
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    file = war(folder=elsewhere)
    digest = hashlib.sha256(file.read_bytes()).hexdigest()

    with pytest.raises(InvalidArchive, match="sha256"):
        store.resolve(WorkflowRequest(url=file.as_uri(), sha256="0" * 64))
    assert not (root / "w.war").exists()

    assert store.resolve(WorkflowRequest(url=file.as_uri(), sha256=digest)).name == "w"
