"""What changes the registry: in order per name, and never by halves."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from tsl.frontend import resolving
from tsl.frontend.config import ServerConfig
from tsl.frontend.dependencies.environments import PythonEnvironment
from tsl.frontend.management import ModelManager
from tsl.frontend.registry import ModelRegistry
from tsl.frontend.worker_state import WorkerState
from tsl.model_store import (
    Manifest,
    ModelConfig,
    ModelVersion,
    RegistrationRequest,
    Snapshot,
    SnapshotEntry,
)
from tsl.protocol.errors import (
    Conflict,
    DependenciesFailed,
    Forbidden,
    InvalidArchive,
    LoadFailed,
    LoadOutOfMemory,
    ModelNotFound,
    NotEnoughDevices,
    VersionNotFound,
)


class FakeStore:
    """Finds ``name:version`` without looking anywhere."""

    def __init__(self):
        self.config = ModelConfig(min_workers=1, max_workers=1)
        self.removed = []
        self.requests = []

    def resolve(self, request, on_progress=None):
        if request.url == "broken":
            raise InvalidArchive("broken")
        self.requests.append(request)
        name, _, version = request.url.partition(":")
        return ModelVersion(
            name=request.model_name or name,
            version=version or "1.0",
            handler="h",
            runtime="python",
            model_dir=Path("/model"),
            url=request.url,
            manifest=Manifest(),
            config=replace(
                self.config,
                **(
                    {}
                    if request.initial_workers is None
                    else {
                        "min_workers": request.initial_workers,
                        "max_workers": request.initial_workers,
                    }
                ),
            ),
            loaded_at_startup=request.loaded_at_startup,
            folder=None,
        )

    def remove(self, version):
        self.removed.append((version.name, version.version))


class FakeRecorder:
    """Notes what it is told, and what is served at that moment."""

    def __init__(self, registry):
        self.heard = []
        self._registry = registry

    def _note(self, what):
        served = {
            f"{one.version.name}:{one.version.version}": one.pool.min_workers
            for one in self._registry
        }
        self.heard.append((what, served))

    async def changed(self):
        self._note("changed")

    async def undone(self):
        self._note("undone")


class FakeEnvironments:
    """Prepares what the test says."""

    def __init__(self):
        self.result = None
        self.gate = None
        self.released = []
        self.is_closed = False

    async def prepare(self, version):
        if self.gate is not None:
            await self.gate.wait()
        if isinstance(self.result, Exception):
            raise self.result
        return self.result

    def release(self, version):
        self.released.append((version.name, version.version))

    async def close(self):
        self.is_closed = True


class FakePlanner:
    """Makes the same plan for everybody."""

    default_workers = 3

    def __init__(self, new_plan):
        self._new_plan = new_plan
        self.failure = None
        self.room = 1000
        self.environments = []

    def cap(self, version, low, high):
        if not self.room:
            raise NotEnoughDevices
        return min(low, self.room), min(high, self.room)

    def plan(self, version, workers, environment):
        self.environments.append(environment)
        if self.failure is not None:
            raise self.failure
        return self._new_plan(retry_window_s=0)


@pytest.fixture
def store():
    return FakeStore()


@pytest.fixture
def planner(new_plan):
    return FakePlanner(new_plan)


@pytest.fixture
def registry():
    return ModelRegistry()


@pytest.fixture
def recorder(registry):
    return FakeRecorder(registry)


@pytest.fixture(autouse=True)
def _no_threads(monkeypatch, world):
    def at_once(work, undo):
        del undo
        return world.loop.run_in_executor(None, work)

    monkeypatch.setattr(resolving, "in_thread", at_once)


@pytest.fixture
def environments():
    return FakeEnvironments()


@pytest.fixture
def manager(world, store, planner, launcher, listener, metrics, registry, recorder, environments):
    return ModelManager(
        config=ServerConfig.load(None, {}, {}),
        registry=registry,
        recorder=recorder,
        store=store,
        planner=planner,
        launcher=launcher,
        listener=listener,
        metrics=metrics,
        environments=environments,
    )


@pytest.fixture
def register(world, manager, launcher):
    """Registers a model and lets its workers load."""

    def do(url, **request):
        task = world.task(manager.register(RegistrationRequest(url=url, **request)))
        world.advance()
        for fake in launcher.started:
            if fake.transport is None:
                fake.load()
        return world.run(task)

    return do


def names(manager):
    return [(served.version.name, served.version.version) for served in manager.registry]


def stop_when_asked(world, launcher):
    """Let every worker that was told to stop exit."""
    world.advance()
    for fake in launcher.started:
        if fake.returncode is None and fake.is_told_to_stop:
            fake.end(0)


# -- registering


def test_registering_returns_when_the_workers_serve(world, manager, launcher):
    task = world.task(manager.register(RegistrationRequest(url="m", initial_workers=2)))
    world.advance()
    launcher.started[0].load()
    world.advance()
    assert not task.done()

    launcher.started[1].load()
    served = world.run(task)

    assert served.pool.ready_count == 2
    assert manager.registry.get("m") is served


def test_registering_without_waiting_returns_at_once(world, manager):
    request = RegistrationRequest(url="m", initial_workers=1)

    served = world.run(manager.register(request, wait=False))

    assert served.pool.ready_count == 0
    assert len(served.pool.workers) == 1


def test_the_settings_of_the_model_reach_its_queue(world, manager, store):
    store.config = ModelConfig(
        batch_size=4, max_batch_delay_ms=250, batch_policy="eager", job_queue_size=7,
        job_queue_bytes=99, response_timeout_s=5, client_timeout_ms=1500,
    )  # fmt: skip

    served = world.run(manager.register(RegistrationRequest(url="m")))

    queue = served.pool.queue
    assert (queue.batch_size, queue.max_delay_s, queue.policy.value) == (4, 0.25, "eager")
    assert (queue.capacity, queue.capacity_bytes) == (7, 99)
    assert served.pool.response_timeout_s == 5
    assert served.client_timeout_s == 1.5


def test_an_archive_that_cannot_be_used_leaves_nothing_behind(world, manager):
    with pytest.raises(InvalidArchive):
        world.run(manager.register(RegistrationRequest(url="broken")))

    assert names(manager) == []


def test_a_version_that_is_there_is_a_conflict_and_its_files_are_let_go(
    world, manager, register, store
):
    first = register("m:1")

    with pytest.raises(Conflict, match="1 is already registered for model m"):
        world.run(manager.register(RegistrationRequest(url="m:1")))

    assert manager.registry.get("m") is first
    assert store.removed == [("m", "1")]


@pytest.mark.parametrize(
    ("code", "error"),
    [("load_failed", LoadFailed), ("load_out_of_memory", LoadOutOfMemory)],
)
def test_a_failed_load_leaves_nothing_behind(world, manager, launcher, store, code, error):
    task = world.task(manager.register(RegistrationRequest(url="m:2", initial_workers=2)))
    world.advance()
    launcher.started[0].load()
    launcher.started[1].fail_to_load(code)
    launcher.started[1].end(1)

    with pytest.raises(error, match="Failed to start workers for model m version: 2"):
        world.run(task)

    assert names(manager) == []
    assert store.removed == [("m", "2")]
    assert all(fake.returncode is not None for fake in launcher.started)


def test_a_failed_version_does_not_disturb_the_others(world, manager, register, launcher):
    register("m:1")
    task = world.task(manager.register(RegistrationRequest(url="m:2")))
    world.advance()
    launcher.last.fail_to_load()
    launcher.last.end(1)

    with pytest.raises(LoadFailed):
        world.run(task)

    assert names(manager) == [("m", "1")]
    assert manager.registry.get("m").pool.ready_count == 1


def test_a_registration_that_breaks_half_way_leaves_nothing_behind(world, manager, planner):
    planner.failure = PermissionError("no")

    with pytest.raises(PermissionError):
        world.run(manager.register(RegistrationRequest(url="m")))

    assert names(manager) == []


def test_a_registration_that_is_cancelled_leaves_nothing_behind(world, manager, launcher):
    task = world.task(manager.register(RegistrationRequest(url="m")))
    world.advance()

    task.cancel()
    world.advance(10)

    assert names(manager) == []


# -- nodes of workflows


def node(world, manager, url, **options):
    """What a workflow does with one of its nodes."""

    async def admit():
        version = await manager._resolve(RegistrationRequest(url=url, initial_workers=0))
        return await manager.admit(version, wait=True, **options)

    return world.run(admit())


def test_a_node_is_refused_when_its_name_has_any_version(world, manager, register, store):
    register("m:1")

    with pytest.raises(Conflict, match="A model m is already registered"):
        node(world, manager, "m:2", alone=True)

    assert names(manager) == [("m", "1")]
    assert store.removed == [("m", "2")]


def test_an_admission_that_is_cancelled_while_it_waits_for_the_name_lets_the_files_go(
    world, manager, store
):
    slow = world.task(manager.register(RegistrationRequest(url="m:1")))
    world.advance()
    waiting = world.task(manager.register(RegistrationRequest(url="m:2")))
    world.advance()

    waiting.cancel()
    world.advance()

    assert store.removed == [("m", "2")]
    slow.cancel()


def test_withdrawing_takes_all_versions_away(world, manager, register, launcher, store):
    register("m:1")
    register("m:2")
    register("other:1")

    task = world.task(manager.withdraw("m"))
    for fake in launcher.started[:2]:
        world.advance()
        fake.end(0)
    world.run(task)

    assert names(manager) == [("other", "1")]
    assert store.removed == [("m", "1"), ("m", "2")]
    world.run(manager.withdraw("m"))  # somebody else was quicker


# -- in order


def test_of_two_registrations_of_one_version_the_second_is_a_conflict(world, manager, launcher):
    tasks = [world.task(manager.register(RegistrationRequest(url="m:1"))) for _ in range(2)]
    world.advance()
    assert len(launcher.started) == 1
    launcher.last.load()
    first, second = world.run(asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), 10))

    assert manager.registry.get("m") is first
    assert type(second) is Conflict


def test_after_a_failed_registration_the_one_that_waited_gets_its_chance(world, manager, launcher):
    tasks = [world.task(manager.register(RegistrationRequest(url="m:1"))) for _ in range(2)]
    world.advance()
    launcher.last.fail_to_load()
    launcher.last.end(1)
    world.advance(0.1)
    launcher.last.load()
    first, second = world.run(asyncio.wait_for(asyncio.gather(*tasks, return_exceptions=True), 10))

    assert type(first) is LoadFailed
    assert manager.registry.get("m") is second


def test_different_models_do_not_wait_for_each_other(world, manager, register):
    slow = world.task(manager.register(RegistrationRequest(url="slow")))
    world.advance()

    world.run(manager.register(RegistrationRequest(url="quick", initial_workers=0)))

    assert not slow.done()
    slow.cancel()


def test_unregistering_waits_for_the_registration(world, manager, launcher):
    registering = world.task(manager.register(RegistrationRequest(url="m")))
    world.advance()
    unregistering = world.task(manager.unregister("m"))
    world.advance()
    assert not unregistering.done()

    launcher.last.load()
    world.run(registering)
    stop_when_asked(world, launcher)
    world.run(unregistering)

    assert names(manager) == []


def test_registering_waits_until_the_old_version_is_gone(world, manager, register, launcher):
    register("m:1")
    unregistering = world.task(manager.unregister("m"))
    world.advance()
    registering = world.task(manager.register(RegistrationRequest(url="m:1")))
    world.advance()
    assert len(launcher.started) == 1

    launcher.last.end(0)
    world.run(unregistering)
    world.advance()
    launcher.last.load()

    assert manager.registry.get("m") is world.run(registering)


def test_scaling_that_waited_for_an_unregister_finds_no_model(world, manager, register, launcher):
    register("m:1")
    unregistering = world.task(manager.unregister("m"))
    world.advance()
    scaling = world.task(manager.scale("m", "", 2, 2, wait=False))
    world.advance()
    launcher.last.end(0)
    world.run(unregistering)

    with pytest.raises(ModelNotFound):
        world.run(scaling)

    assert len(launcher.started) == 1


# -- unregistering


def test_unregistering_stops_the_workers_and_lets_the_files_go(
    world, manager, register, launcher, store
):
    register("m:1")
    task = world.task(manager.unregister("m", "1"))
    stop_when_asked(world, launcher)
    world.run(task)

    assert names(manager) == []
    assert store.removed == [("m", "1")]
    assert launcher.last.returncode == 0


def test_a_model_that_is_being_unregistered_is_not_found(world, manager, register, launcher):
    register("m")
    task = world.task(manager.unregister("m"))
    world.advance()

    with pytest.raises(ModelNotFound):
        manager.registry.get("m")
    launcher.last.end(0)
    world.run(task)


def test_the_default_stays_while_others_exist(world, manager, register):
    register("m:1")
    register("m:2")

    with pytest.raises(Forbidden):
        world.run(manager.unregister("m"))

    assert names(manager) == [("m", "1"), ("m", "2")]
    assert manager.registry.get("m").pool.ready_count == 1


@pytest.mark.parametrize(
    ("name", "version", "error"), [("x", "", ModelNotFound), ("m", "9", VersionNotFound)]
)
def test_what_does_not_exist_cannot_be_changed(world, manager, register, name, version, error):
    register("m:1")

    for operation in (
        manager.unregister(name, version),
        manager.scale(name, version, 1, 1, wait=True),
        manager.set_default(name, version or "1"),
    ):
        with pytest.raises(error):
            world.run(operation)


def test_another_default(world, manager, register):
    register("m:1")
    second = register("m:2")

    world.run(manager.set_default("m", "2"))

    assert manager.registry.get("m") is second


# -- scaling


def test_scaling_up_waits_for_the_new_workers(world, manager, register, launcher):
    served = register("m")
    task = world.task(manager.scale("m", "", 2, 2, wait=True))
    world.advance()
    assert not task.done()

    launcher.last.load()
    world.run(task)

    assert served.pool.ready_count == 2


def test_scaling_down_waits_until_the_surplus_is_gone(world, manager, register, launcher):
    served = register("m", initial_workers=2)
    task = world.task(manager.scale("m", "", 1, 1, wait=True))
    world.advance()
    assert not task.done()

    stop_when_asked(world, launcher)
    world.run(task)

    assert len(served.pool.workers) == 1


def test_scaling_without_waiting_returns_at_once(world, manager, register):
    served = register("m")

    world.run(manager.scale("m", "", 3, 3, wait=False))

    assert len(served.pool.workers) == 3
    assert served.pool.ready_count == 1


def test_scaling_up_that_fails_keeps_the_model(world, manager, register, launcher):
    served = register("m")
    task = world.task(manager.scale("m", "", 2, 2, wait=True))
    world.advance()
    launcher.last.fail_to_load()
    launcher.last.end(1)

    with pytest.raises(LoadFailed):
        world.run(task)

    assert manager.registry.get("m") is served
    assert served.pool.ready_count == 1


def test_there_are_no_more_workers_than_devices_for_them(world, manager, register, planner):
    planner.room = 2
    served = register("m")

    world.run(manager.scale("m", "", 5, 9, wait=False))

    assert len(served.pool.workers) == 2
    assert (served.pool.min_workers, served.pool.max_workers) == (2, 2)


def test_a_model_without_devices_for_one_worker_is_refused(world, manager, planner, store):
    planner.room = 0

    with pytest.raises(NotEnoughDevices):
        world.run(manager.register(RegistrationRequest(url="m")))

    assert names(manager) == []
    assert store.removed == [("m", "1.0")]


def test_the_ranks_of_a_parallel_model_run_in_step(world, manager, store):
    store.config = ModelConfig(parallel_type="tp", parallel_level=2)

    served = world.run(manager.register(RegistrationRequest(url="m"), wait=False))

    for _ in range(200):
        served.pool.depth.observe(10)
    assert served.pool.depth.depth == 1


# -- packages of their own


def test_workers_start_with_the_environment_of_their_model(
    world, manager, planner, environments, launcher
):
    environments.result = PythonEnvironment(python="/env/bin/python")

    world.run(manager.register(RegistrationRequest(url="m"), wait=False))
    world.run(manager.scale("m", "", 2, 2, wait=False))

    assert planner.environments == [environments.result] * 2
    assert environments.released == []
    stop_when_asked(world, launcher)
    world.run(manager.unregister("m"))
    assert environments.released == [("m", "1.0")]


def test_packages_that_cannot_be_installed_leave_nothing_behind(
    world, manager, environments, store
):
    environments.result = DependenciesFailed("no")

    with pytest.raises(DependenciesFailed):
        world.run(manager.register(RegistrationRequest(url="m"), wait=False))

    assert names(manager) == []
    assert store.removed == [("m", "1.0")]
    assert environments.released == [("m", "1.0")]


def test_models_at_start_do_not_wait_for_the_packages_of_others(
    world, manager, environments, planner
):
    environments.gate = asyncio.Event()
    prepare = environments.prepare

    async def prepare_slow(version):
        return await prepare(version) if version.name == "slow" else None

    environments.prepare = prepare_slow
    task = world.task(manager.load_at_start([(None, "slow:1"), (None, "slow:2"), (None, "m")]))
    world.advance()
    assert names(manager) == [("m", "1.0")]

    environments.gate.set()
    assert world.run(task) == {}
    assert manager.registry.get("slow").version.version == "1"


def test_closing_ends_installations(world, manager, environments):
    world.run(manager.close(1))

    assert environments.is_closed


# -- at start


def test_models_at_start_do_not_wait_and_failures_are_reported(world, manager, caplog):
    failures = world.run(
        manager.load_at_start([(None, "a:1"), ("given", "broken"), (None, "broken"), ("b", "a:2")])
    )

    assert names(manager) == [("a", "1"), ("b", "2")]
    assert {name: type(error) for name, error in failures.items()} == {
        "given": InvalidArchive,
        "broken": InvalidArchive,
    }
    assert "Failed to load model: broken" in caplog.text
    assert all(served.version.loaded_at_startup for served in manager.registry)
    assert [len(served.pool.workers) for served in manager.registry] == [3, 3]


def test_the_same_version_twice_at_start_is_a_reported_conflict(world, manager):
    failures = world.run(manager.load_at_start([(None, "a:1"), (None, "a:1")]))

    assert names(manager) == [("a", "1")]
    assert [type(error) for error in failures.values()] == [Conflict]


# -- snapshots


def test_every_change_is_recorded_once_it_is_made(world, manager, register, recorder, launcher):
    register("m:1")
    register("m:2")
    world.run(manager.set_default("m", "2"))
    world.run(manager.scale("m", "2", 3, 3, wait=False))
    task = world.task(manager.unregister("m", "1"))
    stop_when_asked(world, launcher)
    world.run(task)

    assert recorder.heard == [
        ("changed", {"m:1": 1}),
        ("changed", {"m:1": 1, "m:2": 1}),
        ("changed", {"m:1": 1, "m:2": 1}),
        ("changed", {"m:1": 1, "m:2": 3}),
        ("changed", {"m:2": 3}),
    ]


def test_a_registration_that_fails_is_not_recorded_as_a_change(world, manager, recorder, launcher):
    task = world.task(manager.register(RegistrationRequest(url="m")))
    world.advance()
    launcher.last.fail_to_load()
    launcher.last.end(1)

    with pytest.raises(LoadFailed):
        world.run(task)

    assert recorder.heard == [("undone", {})]


def test_what_does_not_exist_changes_nothing(world, manager, recorder):
    for attempt in (
        manager.unregister("m"),
        manager.set_default("m", "1"),
        manager.scale("m", "", 1, 1, wait=False),
    ):
        with pytest.raises(ModelNotFound):
            world.run(attempt)

    assert recorder.heard == []


def entry(name, version, archive, **more):
    return SnapshotEntry(name=name, version=version, archive=archive, **more)


def test_a_snapshot_is_registered_with_its_names_settings_and_defaults(world, manager, store):
    settings = {"min_workers": 2}
    snapshot = Snapshot(
        (
            entry("m", "1", "a:1", settings=settings, handler="h:f", runtime="python3"),
            entry("m", "2", "a:2", is_default=True, url="b:2"),
        )
    )

    failures = world.run(manager.restore(snapshot))

    assert failures == []
    assert names(manager) == [("m", "1"), ("m", "2")]
    assert manager.registry.get("m").version.version == "2"
    first, second = store.requests
    assert first == RegistrationRequest(
        url="a:1",
        model_name="m",
        handler="h:f",
        runtime="python3",
        initial_workers=3,
        loaded_at_startup=True,
        restored=settings,
    )
    assert second.url == "b:2"


def test_what_cannot_be_restored_is_reported_and_the_rest_is_served(world, manager, recorder):
    broken = entry("x", "1", "broken", is_default=True)

    failures = world.run(manager.restore(Snapshot((broken, entry("m", "1", "a:1")))))

    assert [(one, type(error)) for one, error in failures] == [(broken, InvalidArchive)]
    assert names(manager) == [("m", "1")]
    assert recorder.heard == []


def test_an_archive_that_holds_another_version_by_now_is_served_as_that(world, manager, caplog):
    snapshot = Snapshot((entry("m", "1", "a:2", is_default=True), entry("m", "3", "a:3")))

    failures = world.run(manager.restore(snapshot))

    assert failures == []
    assert manager.registry.get("m").version.version == "2"
    assert "says version 1, the archive a:2 is version 2 now" in caplog.text


def test_settings_without_effect_are_named(world, manager, store, caplog):
    store.config = ModelConfig(async_communication=True, continuous_batching=True)

    world.run(manager.register(RegistrationRequest(url="m"), wait=False))

    assert "asyncCommunication has no effect beside" in caplog.text


# -- the end


def test_closing_stops_all_workers(world, manager, register, launcher):
    register("a", initial_workers=2)
    register("b")

    world.run(manager.close(5))

    assert all(fake.returncode is not None for fake in launcher.started)
    assert all(not served.pool.workers for served in manager.registry)


def test_closing_ends_registrations_that_still_wait(world, manager, launcher):
    task = world.task(manager.register(RegistrationRequest(url="m")))
    world.advance()

    world.run(manager.close(5))

    with pytest.raises(LoadFailed):
        world.run(task)
    assert names(manager) == []
    assert launcher.last.returncode is not None


def test_workers_of_an_unregistered_model_are_stopped_for_good(world, manager, register, launcher):
    served = register("m")
    workers = list(served.pool.workers)
    task = world.task(manager.unregister("m"))
    stop_when_asked(world, launcher)
    world.run(task)
    world.advance(1000)

    assert [worker.state for worker in workers] == [WorkerState.STOPPED]
    assert len(launcher.started) == 1
