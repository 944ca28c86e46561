"""How workers are started: environment, device, threads, load order."""

from __future__ import annotations

from pathlib import Path

import pytest

from tsl.frontend import worker_plans
from tsl.frontend.config import ServerConfig
from tsl.frontend.dependencies.environments import PythonEnvironment
from tsl.frontend.devices import Accelerators, DeviceAllocator
from tsl.frontend.worker_plans import REPLY_OVERHEAD_BYTES, WorkerPlanner, worker_environ
from tsl.model_store import Manifest, ModelConfig, ModelVersion, Torchrun
from tsl.protocol.errors import NotEnoughDevices


def new_version(model_dir=Path("/nowhere/m"), handler="handler.py:handle", **config):
    return ModelVersion(
        name="m", version="1.0", handler=handler, runtime="python", model_dir=model_dir,
        url="m.mar", manifest=Manifest(), config=ModelConfig(**config), loaded_at_startup=False,
        folder=None,
    )  # fmt: skip


@pytest.fixture
def new_planner(monkeypatch):
    monkeypatch.setattr(worker_plans, "usable_cpus", lambda: 8)

    def make(text="", environ=None, gpus=0):
        planner = WorkerPlanner(
            ServerConfig.load(text, {}, {}), environ or {}, DeviceAllocator(Accelerators(gpus))
        )
        planner.socket_path = "/run/workers.sock"
        return planner

    return make


def spec_of(plan):
    return plan.spec("w#1", "secret")


def test_workers_are_numbered_from_the_configured_port(new_planner):
    planner = new_planner("initial_worker_port=9500")

    plans = [planner.plan(new_version(), 1) for _ in range(2)]

    assert [plan.number for plan in plans] == [9500, 9501]
    assert [plan.label for plan in plans] == ["W-9500-m_1.0", "W-9501-m_1.0"]


def test_the_load_order_says_what_the_worker_needs(new_planner):
    planner = new_planner("service_envelope=json\nmax_response_size=1000")

    plan = planner.plan(new_version(batch_size=4, startup_timeout_s=7, max_retry_timeout_s=9), 1)

    load = plan.load
    assert (load.model_name, load.model_dir, load.handler) == (
        "m", "/nowhere/m", "handler.py:handle",
    )  # fmt: skip
    assert (load.envelope, load.batch_size, load.gpu_id) == ("json", 4, -1)
    assert load.max_response_bytes == 1000
    assert plan.max_reply_bytes == 4000 + REPLY_OVERHEAD_BYTES
    assert (plan.startup_timeout_s, plan.retry_window_s) == (7, 9)


def test_the_launch_order_carries_id_token_and_socket(new_planner):
    spec = spec_of(new_planner().plan(new_version(), 1))

    assert (spec.worker_id, spec.token) == ("w#1", "secret")
    assert (spec.socket_path, spec.model_dir) == ("/run/workers.sock", "/nowhere/m")


@pytest.mark.parametrize(("workers", "threads"), [(0, 8), (1, 8), (3, 2), (8, 1), (50, 1)])
def test_the_cpus_are_shared_out(new_planner, workers, threads):
    spec = spec_of(new_planner().plan(new_version(), workers))

    assert spec.environ["OMP_NUM_THREADS"] == str(threads)


def test_the_operator_may_say_how_many_threads(new_planner):
    planner = new_planner(environ={"OMP_NUM_THREADS": "5"})

    assert spec_of(planner.plan(new_version(), 1)).environ["OMP_NUM_THREADS"] == "5"


@pytest.mark.parametrize(
    ("gpus", "model", "start"), [(0, "auto", "auto"), (0, "fork", "fork"), (1, "fork", "spawn")]
)
def test_with_an_accelerator_a_worker_is_never_forked(new_planner, gpus, model, start):
    plan = new_planner(gpus=gpus).plan(new_version(worker_start=model), 1)

    assert spec_of(plan).start == start
    assert plan.load.gpu_id == gpus - 1


@pytest.mark.parametrize(("gpus", "workers"), [(0, 8), (3, 3)])
def test_default_workers_are_accelerators_or_cpus(new_planner, gpus, workers):
    assert new_planner(gpus=gpus).default_workers == workers


# -- parallel models


def parallel(kind="tp", level=2, **config):
    return new_version(parallel_type=kind, parallel_level=level, **config)


def environs_of(plan, port=4711):
    """The environments of all ranks."""
    environ = spec_of(plan).environ
    return [
        {**environ, **plan.group.environ(rank, port, environ)} for rank in range(plan.group.size)
    ]


def test_parallel_workers_are_numbered_by_their_processes(new_planner):
    planner = new_planner("initial_distribution_port=29000")

    plans = [planner.plan(parallel(level=3), 1) for _ in range(2)]

    assert [plan.number for plan in plans] == [29000, 29003]
    assert planner.plan(new_version(), 1).number == 9000


def test_ranks_get_a_fresh_process_and_share_nothing(new_planner):
    spec = spec_of(new_planner().plan(parallel(share_model=True, worker_start="fork"), 1))

    assert (spec.start, spec.share) == ("spawn", "")


def test_ranks_know_who_they_are(new_planner):
    plan = new_planner().plan(parallel(), 1)

    first, second = environs_of(plan)
    assert [first[name] for name in ("RANK", "LOCAL_RANK", "WORLD_SIZE")] == ["0", "0", "2"]
    assert [second[name] for name in ("RANK", "LOCAL_RANK", "LOCAL_WORLD_SIZE")] == ["1", "1", "2"]
    assert (first["MASTER_ADDR"], first["MASTER_PORT"]) == ("127.0.0.1", "4711")
    assert second["TORCHELASTIC_RUN_ID"] == "m_29500"
    assert second["GLOO_SOCKET_IFNAME"] == "lo"
    assert "CUDA_VISIBLE_DEVICES" not in first
    assert plan.load.gpu_id == -1


def test_the_operator_may_choose_the_network_of_the_ranks(new_planner):
    plan = new_planner(environ={"GLOO_SOCKET_IFNAME": "eth1"}).plan(parallel(), 1)

    assert {each["GLOO_SOCKET_IFNAME"] for each in environs_of(plan)} == {"eth1"}


def test_ranks_of_the_second_of_two_machines(new_planner):
    torchrun = Torchrun(nnodes=2, node_rank=1, master="10.0.0.1:29400", rdzv_id="job")

    _, last = environs_of(new_planner().plan(parallel(torchrun=torchrun), 1))

    assert (last["RANK"], last["LOCAL_RANK"], last["WORLD_SIZE"]) == ("3", "1", "4")
    assert (last["GROUP_RANK"], last["GROUP_WORLD_SIZE"]) == ("1", "2")
    assert (last["MASTER_ADDR"], last["MASTER_PORT"]) == ("10.0.0.1", "29400")
    assert last["TORCHELASTIC_RUN_ID"] == "job"
    assert "GLOO_SOCKET_IFNAME" not in last


@pytest.mark.parametrize(
    ("stated", "inherited", "expected"), [(None, None, "1"), (None, "4", "4"), (3, "4", "3")]
)
def test_threads_of_a_rank(new_planner, stated, inherited, expected):
    environ = {} if inherited is None else {"OMP_NUM_THREADS": inherited}
    version = parallel(torchrun=Torchrun(omp_threads=stated))

    plan = new_planner(environ=environ).plan(version, 1)

    assert spec_of(plan).environ["OMP_NUM_THREADS"] == expected


def test_groups_see_their_own_devices_and_count_them_from_0(new_planner):
    planner = new_planner(gpus=4)

    plans = [planner.plan(parallel(), 2) for _ in range(2)]

    assert [spec_of(plan).environ["CUDA_VISIBLE_DEVICES"] for plan in plans] == ["0,1", "2,3"]
    assert [plan.load.gpu_id for plan in plans] == [0, 0]


def test_the_devices_of_a_group_that_is_gone_are_used_again(new_planner):
    planner = new_planner(gpus=4)
    first, _ = (planner.plan(parallel(device_ids=(3, 2, 1, 0)), 2) for _ in range(2))

    first.group.release()

    again = planner.plan(parallel(device_ids=(3, 2, 1, 0)), 2)
    assert spec_of(again).environ["CUDA_VISIBLE_DEVICES"] == "3,2"


def test_a_custom_worker_is_one_process_that_sees_all_its_devices(new_planner):
    plan = new_planner(gpus=4).plan(parallel("custom", 3), 1)

    assert plan.group is None
    assert spec_of(plan).environ["CUDA_VISIBLE_DEVICES"] == "0,1,2"
    assert plan.load.gpu_id == 0


@pytest.mark.parametrize(("kind", "copies"), [("tp", True), ("pptp", True), ("pp", False)])
def test_who_gets_the_batches(new_planner, kind, copies):
    assert new_planner().plan(parallel(kind), 1).group.copies_batches is copies


@pytest.mark.parametrize(
    ("gpus", "config", "expected"),
    [
        (4, {}, (2, 2)),
        (5, {}, (2, 2)),
        (4, {"device_ids": (0, 1)}, (1, 1)),
        (4, {"device_type": "cpu"}, (3, 9)),
        (0, {}, (3, 9)),
    ],
)
def test_workers_are_limited_to_the_devices(new_planner, gpus, config, expected):
    assert new_planner(gpus=gpus).cap(parallel(**config), 3, 9) == expected


def test_workers_that_share_devices_are_not_limited(new_planner):
    assert new_planner(gpus=1).cap(new_version(), 3, 9) == (3, 9)


def test_too_few_devices_for_one_worker(new_planner):
    with pytest.raises(NotEnoughDevices, match="needs 3 accelerators"):
        new_planner(gpus=2).cap(parallel(level=3), 1, 1)


def test_a_list_with_unknown_devices_is_ignored_with_a_warning(new_planner, caplog):
    planner = new_planner(gpus=2)

    assert planner.cap(parallel(device_ids=(1, 2)), 1, 1) == (1, 1)
    assert "deviceIds is ignored" in caplog.text


# -- packages of their own


def test_a_virtual_environment_is_used_by_a_fresh_process(new_planner):
    environment = PythonEnvironment(python="/env/bin/python")
    version = new_version(share_model=True, worker_start="fork")

    spec = spec_of(new_planner().plan(version, 1, environment))

    assert (spec.python, spec.start, spec.share) == ("/env/bin/python", "spawn", "")


def test_a_folder_of_packages_is_found_behind_the_models_own(new_planner):
    environment = PythonEnvironment(packages="/env")

    spec = spec_of(new_planner().plan(new_version(), 1, environment))

    assert spec.environ["PYTHONPATH"] == "/nowhere/m:/env"
    assert (spec.python, spec.start) == ("", "spawn")


# -- sharing


@pytest.mark.parametrize(
    ("handler", "asked", "gpus", "shares"),
    [
        ("image_classifier", None, 0, True),
        ("image_classifier", False, 0, False),
        ("image_classifier", None, 1, False),
        ("handler.py:handle", None, 0, False),
        ("handler.py:handle", True, 0, True),
    ],
)
def test_who_shares_a_model(new_planner, tmp_path, handler, asked, gpus, shares):
    version = new_version(model_dir=tmp_path, handler=handler, share_model=asked)

    spec = spec_of(new_planner(gpus=gpus).plan(version, 1))

    assert bool(spec.share) == shares
    assert bool(spec.load) == shares


# -- environment


def environ(text="", inherited=None, **version):
    return worker_environ(
        inherited or {}, new_version(**version), ServerConfig.load(text, {}, {}), {"B": "2"}
    )


def test_the_environment_is_inherited_and_extended():
    result = environ(inherited={"A": "1", "TS_IPEX_ENABLE": "x"})

    assert result["A"] == "1"
    assert result["TS_IPEX_ENABLE"] == "false"
    assert result["TS_REQUEST_SEQUENCE_ID"] == "ts_request_sequence_id"
    assert result["B"] == "2"


def test_hidden_variables_are_hidden_also_when_they_are_ours():
    result = environ(
        "blacklist_env_vars=SECRET.*|PYTHONPATH", {"SECRET_KEY": "x", "MY_SECRET": "y"}
    )

    assert "SECRET_KEY" not in result
    assert "PYTHONPATH" not in result
    assert result["MY_SECRET"] == "y"


@pytest.mark.parametrize(
    ("handler", "inherited", "expected"),
    [
        ("h.py:f", "", "{dir}"),
        ("h.py:f", "/lib", "/lib:{dir}"),
        ("/opt/x/h.py:f", "/lib", "/opt/x:/lib:{dir}"),
        ("sub/h.py:f", "", "sub:{dir}"),
        ("image_classifier", "", "{dir}"),
    ],
)
def test_the_import_path(tmp_path, handler, inherited, expected):
    result = environ(
        inherited={"PYTHONPATH": inherited} if inherited else {},
        model_dir=tmp_path,
        handler=handler,
    )

    assert result["PYTHONPATH"] == expected.format(dir=tmp_path)


def test_a_linked_model_folder_adds_the_links_parent(tmp_path):
    (tmp_path / "real").mkdir()
    (tmp_path / "links").mkdir()
    (tmp_path / "links" / "m").symlink_to(tmp_path / "real")

    result = environ(model_dir=tmp_path / "links" / "m")

    assert result["PYTHONPATH"] == f"{tmp_path / 'real'}:{tmp_path / 'links'}"
