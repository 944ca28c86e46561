"""Starting servers is tested in tests/e2e/test_launcher.py; here is what needs none."""

import argparse
import json
from types import SimpleNamespace

import pytest
import yaml
from optional_packages import block, install

from tsl.backend import launching, llm_launcher


def test_models_are_registered_at_the_default_address(monkeypatch):
    calls = []
    install(monkeypatch, "requests", post=lambda *given, **named: calls.append((given, named)))

    launching.register_model("m", "m.mar")
    launching.register_model_with_params({"url": "n.mar"})

    assert calls[0][0] == ("http://localhost:8081/models",)
    assert dict(calls[0][1]["params"]) == {
        "model_name": "m",
        "url": "m.mar",
        "initial_workers": "1",
        "synchronous": "true",
    }
    assert calls[1][1]["params"] == [("url", "n.mar")]


def test_registering_needs_requests(monkeypatch):
    block(monkeypatch, "requests")

    with pytest.raises(ImportError, match="pip install requests"):
        launching.register_model("m", "m.mar")


def test_plugins_of_the_java_server_are_refused():
    with pytest.raises(ValueError, match="plugin_folder"):
        launching.start(plugin_folder="plugins")


# The launcher of language models.


@pytest.fixture
def accelerators(monkeypatch):
    cuda = SimpleNamespace(device_count=lambda: 4)
    monkeypatch.setattr(
        llm_launcher,
        "importlib",
        SimpleNamespace(import_module=lambda _: SimpleNamespace(cuda=cuda)),
    )


def parse(*words):
    return llm_launcher.make_parser().parse_args(words)


def test_a_vllm_model_is_a_folder_as_long_as_it_is_served(accelerators, tmp_path):
    args = parse("--model_store", str(tmp_path), "--model_id", "org/m", "--startup_timeout", "9")

    with llm_launcher.create_mar_file(args) as folder:
        config = yaml.safe_load((tmp_path / "model" / "model-config.yaml").read_text())
        manifest = json.loads((tmp_path / "model" / "MAR-INF" / "MANIFEST.json").read_text())
        assert folder == str(tmp_path / "model")

    assert list(tmp_path.iterdir()) == []
    assert manifest["model"]["handler"] == "vllm_handler"
    assert config["asyncCommunication"] is True
    assert config["startupTimeout"] == 9
    assert config["handler"] == {
        "model_path": "org/m",
        "vllm_engine_config": {
            "max_num_seqs": 256,
            "max_model_len": None,
            "download_dir": None,
            "tensor_parallel_size": 4,
        },
    }


def test_an_engine_of_tensorrt_is_kept(tmp_path, monkeypatch):
    saved = []

    class Engine:
        def __init__(self, model, dtype, build_config):
            self.made_with = (model, dtype, build_config)

        def save(self, folder):
            saved.append((*self.made_with, folder))

    install(monkeypatch, "tensorrt_llm", LLM=Engine, BuildConfig=dict)
    args = parse("--engine", "trt_llm", "--model_store", str(tmp_path))

    with llm_launcher.create_mar_file(args, tmp_path / "snapshot") as folder:
        llm_launcher.create_tensorrt_llm_engine(tmp_path, "model", "float16", "snapshot", 4)

    config = yaml.safe_load((tmp_path / "model" / "model-config.yaml").read_text())
    assert folder == str(tmp_path / "model")
    assert config["handler"]["engine_dir"] == "model-engine"
    assert config["handler"]["tokenizer_dir"] == str(tmp_path / "snapshot")
    assert saved == [
        ("snapshot", "float16", {"max_batch_size": 4}, str(tmp_path / "model" / "model-engine"))
    ]


def test_the_server_is_stopped_when_the_command_is_interrupted(accelerators, tmp_path, monkeypatch):
    calls = []
    monkeypatch.setattr(launching, "start", lambda **given: calls.append(("start", given)))
    monkeypatch.setattr(launching, "stop", lambda: calls.append(("stop", {})))

    def pause():
        assert (tmp_path / "llm").is_dir()
        raise KeyboardInterrupt

    monkeypatch.setattr(llm_launcher.signal, "pause", pause)
    words = ["--model_store", str(tmp_path), "--model_name", "llm", "--disable_token_auth"]

    assert llm_launcher.run(words) == 0

    given = {
        "model_store": str(tmp_path),
        "no_config_snapshots": True,
        "models": "llm",
        "disable_token": True,
    }
    assert calls == [("start", given), ("stop", {})]
    assert list(tmp_path.iterdir()) == []


def test_mistakes_are_one_line(monkeypatch, capsys):
    def main(args: argparse.Namespace):
        raise RuntimeError("the server ended while starting")

    monkeypatch.setattr(llm_launcher, "main", main)

    with pytest.raises(SystemExit) as caught:
        llm_launcher.run([])

    assert caught.value.code == 1
    assert capsys.readouterr().err == "the server ended while starting\n"
