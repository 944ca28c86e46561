"""Workflows come and go as a whole."""

from __future__ import annotations

import asyncio
from pathlib import Path
from types import SimpleNamespace

import pytest

from tsl.frontend import workflow_run
from tsl.frontend.workflows import WorkflowManager
from tsl.model_store import (
    Manifest,
    ModelConfig,
    ModelFolder,
    ModelVersion,
    Workflow,
    WorkflowRequest,
    WorkflowSpec,
)
from tsl.protocol.errors import (
    Conflict,
    LoadFailed,
    ModelNotFound,
    QueueFull,
    ShuttingDown,
)
from tsl.protocol.workflow_errors import NodeFailed, WorkflowLoadFailed, WorkflowNotFound

SPEC = "models:\n  m: {url: m.mar}\ndag:\n  pre: [m, post]\n"


class FakeStore:
    """Finds every workflow; nodes named in ``broken`` cannot be resolved."""

    def __init__(self):
        self.removed = []
        self.broken = {}

    def resolve(self, request):
        return Workflow(
            name=request.workflow_name or request.url.removesuffix(".war"),
            url=request.url,
            spec=WorkflowSpec.parse(SPEC.encode()),
            handler="h.py",
            request=request,
            folder=ModelFolder(Path("/w")),
        )

    def remove(self, workflow):
        self.removed.append(workflow.name)

    def resolve_node(self, workflow, node):
        if node.name in self.broken:
            raise self.broken[node.name]
        return ModelVersion(
            name=workflow.model_name(node.name),
            version="1.0",
            handler="h",
            runtime="python",
            model_dir=Path("/m"),
            url="m.mar",
            manifest=Manifest(),
            config=ModelConfig(),
            loaded_at_startup=False,
            folder=ModelFolder(Path("/m")),
        )


class FakeModels:
    """Serves a version as soon as the test lets it, and undoes itself when it cannot."""

    def __init__(self):
        self.served = set()
        self.discarded = []
        self.failing = {}
        self.waiting = set()
        self.gate = None

    @property
    def registry(self):
        return self

    def get(self, name, version=""):
        raise QueueFull if name in self.served else ModelNotFound(f"Model not found: {name}")

    async def admit(self, version, *, wait, alone):
        assert wait
        assert alone
        await asyncio.sleep(0)
        if version.name in self.failing:
            raise self.failing[version.name]
        if version.name in self.waiting:
            await asyncio.Event().wait()
        self.served.add(version.name)

    async def withdraw(self, name):
        await asyncio.sleep(0)
        self.served.discard(name)

    async def discard(self, version):
        self.discarded.append(version.name)


@pytest.fixture
def store():
    return FakeStore()


@pytest.fixture
def models():
    return FakeModels()


@pytest.fixture
def manager(world, models, store, monkeypatch):
    monkeypatch.setattr(workflow_run, "time", world)
    return WorkflowManager(models, store, drain_s=10)


def register(world, manager, name="w"):
    return world.run(manager.register(WorkflowRequest(url=f"{name}.war")))


def names(manager):
    return [workflow.name for workflow in manager.all()]


def test_a_workflow_is_served_when_all_its_nodes_are(world, manager, models):
    workflow = register(world, manager)

    assert models.served == {"w__pre", "w__m", "w__post"}
    assert manager.get("w").workflow is workflow


def test_workflows_are_listed_by_name(world, manager):
    for name in ("b", "c", "a"):
        register(world, manager, name)

    assert names(manager) == ["a", "b", "c"]


def test_an_unknown_workflow_is_not_found(world, manager):
    with pytest.raises(WorkflowNotFound, match="Workflow not found: w"):
        manager.get("w")
    with pytest.raises(WorkflowNotFound):
        world.run(manager.unregister("w"))


def test_a_name_that_is_taken_is_a_conflict_and_the_archive_is_let_go(
    world, manager, models, store
):
    register(world, manager)

    with pytest.raises(Conflict, match="Workflow w is already registered"):
        register(world, manager)

    assert store.removed == ["w"]
    assert len(models.served) == 3


def test_of_two_registrations_at_a_time_one_wins(world, manager, store):
    async def both():
        request = WorkflowRequest(url="w.war")
        return await asyncio.gather(
            manager.register(request), manager.register(request), return_exceptions=True
        )

    first, second = world.run(both())

    assert manager.get("w").workflow is first
    assert type(second) is Conflict
    assert store.removed == ["w"]


# -- by halves never


def test_archives_that_cannot_be_used_are_all_named_and_nothing_stays(
    world, manager, models, store
):
    store.broken = {"m": ModelNotFound("Model not found at: 'm.mar'."), "post": LoadFailed("no.")}

    with pytest.raises(WorkflowLoadFailed) as caught:
        register(world, manager)

    text = str(caught.value)
    assert "Workflow node m: Model not found at: 'm.mar'." in text
    assert "Workflow node post: no." in text
    assert (caught.value.status(), caught.value.status(standard=True)) == (500, 404)
    assert (names(manager), models.served) == ([], set())
    assert models.discarded == ["w__pre"]
    assert store.removed == ["w"]


@pytest.mark.parametrize("error", [LoadFailed("Failed to start w__m"), Conflict("taken")])
def test_a_node_that_cannot_load_undoes_the_others(world, manager, models, store, error):
    models.failing["w__m"] = error
    models.waiting.add("w__post")

    with pytest.raises(WorkflowLoadFailed, match=f"Failures: .{error.message}"):
        register(world, manager)

    assert (names(manager), models.served) == ([], set())
    assert store.removed == ["w"]
    models.failing.clear()
    models.waiting.clear()
    register(world, manager)
    assert len(models.served) == 3


@pytest.mark.parametrize("where", ["resolve", "admit"])
def test_a_bug_undoes_everything_too(world, manager, models, store, where):
    if where == "resolve":
        store.broken["m"] = ZeroDivisionError()
    else:
        models.failing["w__m"] = ZeroDivisionError()

    with pytest.raises((ZeroDivisionError, ExceptionGroup)):
        register(world, manager)

    assert (names(manager), models.served) == ([], set())
    assert store.removed == ["w"]


def test_a_registration_that_is_cancelled_leaves_nothing_behind(world, manager, models, store):
    models.waiting.add("w__m")
    task = world.task(manager.register(WorkflowRequest(url="w.war")))
    world.advance()
    assert models.served == {"w__pre", "w__post"}

    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        world.run(task)

    assert (names(manager), models.served) == ([], set())
    assert store.removed == ["w"]


# -- the end


def test_unregistering_takes_all_nodes_away(world, manager, models, store):
    register(world, manager)

    world.run(manager.unregister("w"))

    assert (names(manager), models.served, store.removed) == ([], set(), ["w"])


class Pool:
    """Keeps jobs until the test ends them."""

    def __init__(self):
        self.jobs = []

    def submit(self, job):
        job.queue = self
        self.jobs.append(job)

    def remove(self, job):
        return True


@pytest.fixture
def running(world, manager, models, new_job):
    """A workflow with a request that waits for its first node; answers its jobs."""
    register(world, manager)
    pool = Pool()
    models.get = lambda name: SimpleNamespace(pool=pool, client_timeout_s=0)
    job = new_job()
    manager.get("w").run(job)
    assert manager.get("w").running == 1
    return job, pool


def test_unregistering_waits_for_the_requests_on_their_way(world, manager, models, running):
    job, pool = running
    task = world.task(manager.unregister("w"))
    world.advance(5)

    assert not task.done()
    assert len(models.served) == 3
    with pytest.raises(WorkflowNotFound):
        manager.get("w")  # no new ones

    pool.jobs[0].fail(LoadFailed())
    world.advance()
    pool.jobs[1].fail(LoadFailed())
    world.run(task)
    assert type(job.sink.error) is NodeFailed
    assert models.served == set()


def test_requests_that_take_too_long_are_answered_with_an_error(world, manager, models, running):
    job, pool = running

    world.run(manager.unregister("w"))

    assert type(job.sink.error) is ShuttingDown
    assert pool.jobs[0].is_settled
    assert models.served == set()
