import json
from types import SimpleNamespace

import pytest
from optional_packages import block, install

from tsl.backend import distributed
from tsl.protocol.errors import LoadFailed


class Model:
    def forward(self, ids, mask=None, labels="none"):
        return ids

    def eval(self):
        self.is_evaluated = True


def context(folder=".", **sections):
    return SimpleNamespace(model_yaml_config=sections, system_properties={"model_dir": str(folder)})


@pytest.fixture
def pippy(monkeypatch):
    calls = []

    def all_compile(model, **options):
        calls.append(options)
        return "driver", "stage"

    install(
        monkeypatch,
        "pippy",
        all_compile=all_compile,
        split_into_equal_size=lambda parts: f"split in {parts}",
    )
    install(
        monkeypatch,
        "pippy.hf",
        PiPPyHFTracer=lambda: "tracer",
        inject_pipeline_forward=lambda model, driver: setattr(model, "pipeline", driver),
    )
    return calls


def test_a_package_that_is_not_installed_is_named_with_what_to_do(monkeypatch):
    block(monkeypatch, "deepspeed")

    with pytest.raises(LoadFailed) as caught:
        distributed.get_ds_engine(Model(), context())

    assert str(caught.value) == (
        "get_ds_engine needs the package deepspeed, which is not installed."
        " Run pip install deepspeed."
    )


def test_a_module_that_a_version_lacks_is_named(monkeypatch):
    install(monkeypatch, "pippy")

    with pytest.raises(LoadFailed, match=r"lacks\. Install another version"):
        distributed.need("pippy.hf", "The test")


def test_a_broken_package_is_not_taken_for_a_missing_one(tmp_path, monkeypatch):
    (tmp_path / "half_installed.py").write_text("import gone_for_good\n")
    monkeypatch.syspath_prepend(tmp_path)

    with pytest.raises(ModuleNotFoundError, match="gone_for_good"):
        distributed.need("half_installed", "The test")


def test_a_rank_comes_from_torchrun(monkeypatch):
    monkeypatch.setenv("LOCAL_RANK", "3")
    assert distributed.group_rank("LOCAL_RANK") == 3

    monkeypatch.delenv("LOCAL_RANK")
    with pytest.raises(LoadFailed, match="parallelType and torchrun"):
        distributed.group_rank("LOCAL_RANK")


def test_a_model_becomes_a_pipeline(pippy):
    model = Model()
    ctx = context(
        pippy={"input_names": ["ids"], "model_type": "other", "chunks": 4},
        handler={"model_path": "weights"},
    )

    driver = distributed.get_pipeline_driver(model, 2, ctx)

    assert driver == "driver"
    assert model.is_evaluated
    assert pippy == [
        {
            "num_ranks": 2,
            "num_chunks": 4,
            "schedule": "FillDrain",
            "split_policy": "split in 2",
            "tracer": None,
            "concrete_args": {"mask": None, "labels": "none"},
            "index_filename": None,
            "checkpoint_prefix": None,
        }
    ]


def test_a_model_of_transformers_runs_as_a_pipeline_itself(pippy, tmp_path):
    model = Model()
    (tmp_path / "index.json").write_text("{}")
    ctx = context(
        pippy={"input_names": ["ids"], "model_type": "HF"},
        handler={"model_path": str(tmp_path), "index_filename": "index.json"},
    )

    assert distributed.get_pipeline_driver(model, 2, ctx) is model
    assert model.pipeline == "driver"
    assert pippy[0]["tracer"] == "tracer"
    assert pippy[0]["index_filename"] == str(tmp_path / "index.json")


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({}, r"lacks pippy: \{input_names"),
        ({"pippy": {"input_names": ["a"]}}, r"lacks pippy: \{model_type"),
        ({"pippy": {"input_names": ["a"], "model_type": "HF"}}, r"lacks handler: \{model_path"),
        (
            {
                "pippy": {"input_names": ["a"], "model_type": "HF"},
                "handler": {"model_path": "/nowhere", "index_filename": "index.json"},
            },
            r"index file index\.json is not in",
        ),
    ],
    ids=["nothing", "type", "path", "index"],
)
def test_missing_settings_of_a_pipeline_are_named(pippy, sections, message):
    with pytest.raises(LoadFailed, match=message):
        distributed.get_pipeline_driver(Model(), 2, context(**sections))


def test_deepspeed_gets_its_files(monkeypatch, tmp_path):
    calls = []
    install(monkeypatch, "deepspeed", init_inference=lambda model, **given: calls.append(given))
    (tmp_path / "ds.json").write_text("{}")
    (tmp_path / "weights").mkdir()
    (tmp_path / "weights" / "a.bin").touch()
    (tmp_path / "weights" / "a.txt").touch()
    ctx = context(
        tmp_path,
        deepspeed={"config": "ds.json", "checkpoint": "list.json"},
        handler={"model_path": str(tmp_path / "weights")},
    )

    distributed.get_ds_engine(Model(), ctx)

    assert calls == [
        {
            "config": str(tmp_path / "ds.json"),
            "base_dir": str(tmp_path / "weights"),
            "checkpoint": str(tmp_path / "list.json"),
        }
    ]
    assert json.loads((tmp_path / "list.json").read_text()) == {
        "type": "ds_model",
        "checkpoints": [str(tmp_path / "weights" / "a.bin")],
        "version": 1.0,
    }


def test_deepspeed_without_its_configuration_is_refused(monkeypatch, tmp_path):
    install(monkeypatch, "deepspeed")

    with pytest.raises(LoadFailed, match=r"lacks deepspeed: \{config"):
        distributed.get_ds_engine(Model(), context(tmp_path, deepspeed={"config": "gone.json"}))
