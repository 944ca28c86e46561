"""How workers are started: environment, device, threads, load order."""

from __future__ import annotations

from pathlib import Path

import pytest

from tsl.frontend import worker_plans
from tsl.frontend.config import ServerConfig
from tsl.frontend.devices import DeviceAllocator
from tsl.frontend.worker_plans import REPLY_OVERHEAD_BYTES, WorkerPlanner, worker_environ
from tsl.model_store import Manifest, ModelConfig, ModelVersion


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
            ServerConfig.load(text, {}, {}), environ or {}, DeviceAllocator(gpus)
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
        inherited or {}, new_version(**version), ServerConfig.load(text, {}, {}), 2
    )


def test_the_environment_is_inherited_and_extended():
    result = environ(inherited={"A": "1", "TS_IPEX_ENABLE": "x"})

    assert result["A"] == "1"
    assert result["TS_IPEX_ENABLE"] == "false"
    assert result["TS_REQUEST_SEQUENCE_ID"] == "ts_request_sequence_id"
    assert result["OMP_NUM_THREADS"] == "2"


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
