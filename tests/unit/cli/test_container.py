"""What the container runs for each platform, and that its Dockerfile is sound."""

from __future__ import annotations

import os
from pathlib import Path

import javaproperties
import pytest
from dockerfile_parse import DockerfileParser

from tsl.cli import container
from tsl.cli.container import CONFIG_FILE, command_line, more_environ
from tsl.cli.server_process import MARKER
from tsl.cli.start import command
from tsl.cli.start_options import StartOptions
from tsl.cli.starting import configure

ROOT = Path(__file__).resolve().parents[3]
EMPTY = Path("/nowhere-at-all")


def started(args, environ=None, root=EMPTY):
    """What ``tsl start`` understands of the command line; it must be a start in the foreground."""
    line = command_line(args, environ or {}, root)
    assert line.count(MARKER) == 1
    words = line[line.index("tsl.cli") + 1 :]
    assert words[0] == "start"
    options = StartOptions(**command.make_context("start", words[1:]).params)
    assert options.foreground
    assert words.count("--foreground") == 1
    return options


def settings(args, environ=None, root=EMPTY):
    return {key: str(value) for key, value in started(args, environ, root).overrides().items()}


# -- TorchServe's image


@pytest.mark.parametrize("args", [[], ["serve"]], ids=["nothing", "serve"])
def test_serve_uses_the_configuration_of_the_image(args, tmp_path):
    file = tmp_path / CONFIG_FILE
    file.parent.mkdir(parents=True)
    file.touch()

    options = started(args, root=tmp_path)

    assert options.ts_config == file
    assert options.overrides() == {}


def test_words_behind_serve_are_options():
    assert started(["serve", "--models", "a.mar"]).models == ("a.mar",)


@pytest.mark.parametrize(
    "args",
    [
        ["torchserve", "--start", "--model-store", "/s", "--models", "a.mar", "b=b.mar"],
        ["torchserve", "--model-store", "/s", "--models", "a.mar", "b=b.mar", "--foreground"],
        ["torchserve --start --model-store /s --models a.mar b=b.mar"],
    ],
    ids=["background", "foreground", "one word"],
)
def test_a_start_is_never_sent_to_the_background(args):
    assert settings(args) == {"model_store": "/s", "load_models": "a.mar,b=b.mar"}


def test_a_start_of_tsl_stays_in_the_foreground_too():
    assert started(["tsl", "start", "--model-store=/s"]).model_store == Path("/s")


@pytest.mark.parametrize(
    ("args", "line"),
    [
        (["bash"], ["bash"]),
        (["python", "-c", "print(1)"], ["python", "-c", "print(1)"]),
        (["torch-model-archiver -h"], ["torch-model-archiver", "-h"]),
        (["torchserve", "--version"], ["torchserve", "--version"]),
        (["tsl", "status"], ["tsl", "status"]),
    ],
)
def test_everything_else_is_run_as_it_is(args, line):
    assert command_line(args, {}, EMPTY) == line


def test_a_wrong_option_ends_the_container_with_2(capsys):
    with pytest.raises(SystemExit) as caught:
        command_line(["torchserve", "--nonsense"], {}, EMPTY)

    assert caught.value.code == 2
    assert "--nonsense" in capsys.readouterr().err


# -- KServe


KSERVE = [
    "torchserve",
    "--start",
    "--model-store=/mnt/models/model-store",
    "--ts-config=/mnt/models/config/config.properties",
]


@pytest.mark.parametrize("environ", [{}, {"PROTOCOL_VERSION": "v2"}])
def test_kserve_gets_its_port_without_a_wrapper_and_without_tokens(environ):
    options = started(KSERVE, environ)

    assert options.ts_config == Path("/mnt/models/config/config.properties")
    assert options.overrides() == {
        "model_store": Path("/mnt/models/model-store"),
        "inference_address": "http://0.0.0.0:8080",
        "disable_token_authorization": "true",
    }


def test_kserve_opens_grpc_to_the_pod_when_it_asks_for_it():
    found = settings(KSERVE, {"PROTOCOL_VERSION": "grpc-v2"})

    assert found["grpc_inference_address"] == "0.0.0.0"
    assert "grpc_inference_address" not in settings(KSERVE, {"PROTOCOL_VERSION": "v2"})


@pytest.mark.parametrize(
    ("environ", "more"),
    [
        ({}, {}),
        ({"PROTOCOL_VERSION": "v1"}, {}),
        ({"PROTOCOL_VERSION": "v2"}, {"TS_OPEN_INFERENCE_PROTOCOL": "oip"}),
        ({"PROTOCOL_VERSION": "grpc-v2"}, {"TS_OPEN_INFERENCE_PROTOCOL": "oip"}),
        (
            {"PROTOCOL_VERSION": "v2", "TS_OPEN_INFERENCE_PROTOCOL": "off"},
            {"TS_OPEN_INFERENCE_PROTOCOL": "off"},
        ),
    ],
)
def test_the_second_protocol_is_switched_on_for_who_wants_it(environ, more):
    assert more_environ(environ) == more


def test_the_configuration_of_kserve_is_taken(tmp_path):
    """The file that KServe's storage initializer brings, cut down to what is special in it."""
    store = tmp_path / "model-store"
    store.mkdir()
    file = tmp_path / "config.properties"
    file.write_text(
        "inference_address=http://0.0.0.0:8085\nmanagement_address=http://0.0.0.0:8085\n"
        "metrics_address=http://0.0.0.0:8082\nenable_envvars_config=true\nNUM_WORKERS=1\n"
        "install_py_dep_per_model=true\nnumber_of_netty_threads=4\njob_queue_size=10\n"
        'model_snapshot={"name":"startup.cfg","modelCount":1,"models":{"mnist":{"1.0":{'
        '"defaultVersion":true,"marName":"mnist.mar","minWorkers":1,"maxWorkers":5,"batchSize":1,'
        '"maxBatchDelay":10,"responseTimeout":120}}}}\n'
    )
    args = ["torchserve", "--start", f"--model-store={store}", f"--ts-config={file}"]
    environ = {"PROTOCOL_VERSION": "v2", "TS_SERVICE_ENVELOPE": "kservev2", "TEMP": str(tmp_path)}

    config = configure(started(args, environ), {**environ, **more_environ(environ)}, tmp_path)

    assert config.inference_address.url == "http://0.0.0.0:8080"
    assert config.management_address.url == "http://0.0.0.0:8085"
    assert config.service_envelope == "kservev2"
    assert config.ts_open_inference_protocol
    assert [entry.archive for entry in config.model_snapshot.entries] == ["mnist.mar"]


# -- SageMaker


def test_sagemaker_gets_one_port_and_the_folder_of_its_model(tmp_path):
    model = tmp_path / "opt/ml/model"
    model.mkdir(parents=True)

    options = started(["serve"], root=tmp_path)

    assert options.no_config_snapshots
    assert settings(["serve"], root=tmp_path) == {
        "inference_address": "http://0.0.0.0:8080",
        "management_address": "http://127.0.0.1:8081",
        "metrics_address": "http://127.0.0.1:8082",
        "grpc_inference_address": "127.0.0.1",
        "grpc_inference_port": "7070",
        "grpc_management_address": "127.0.0.1",
        "grpc_management_port": "7071",
        "disable_token_authorization": "true",
        "config_snapshots": "False",
        "model_store": str(model),
        "load_models": f"model={model}",
    }


def test_archives_that_sagemaker_has_unpacked_are_loaded(tmp_path):
    model = tmp_path / "opt/ml/model"
    (model / "code").mkdir(parents=True)
    for name in ("b.mar", "a.mar"):
        (model / name).touch()

    assert settings(["serve"], root=tmp_path)["load_models"] == "a.mar,b.mar"


@pytest.mark.parametrize(
    ("safe", "ports"),
    [
        ("21000-21999", ("21000", "21001", "21002", "21003")),
        ("5-6", ("8081", "8082", "7070", "7071")),
        ("free", ("8081", "8082", "7070", "7071")),
    ],
)
def test_sagemaker_may_choose_the_ports(safe, ports):
    environ = {"SAGEMAKER_BIND_TO_PORT": "9000", "SAGEMAKER_SAFE_PORT_RANGE": safe}

    found = settings(["serve"], environ)

    assert found["inference_address"] == "http://0.0.0.0:9000"
    assert found["management_address"] == f"http://127.0.0.1:{ports[0]}"
    assert found["metrics_address"] == f"http://127.0.0.1:{ports[1]}"
    assert (found["grpc_inference_port"], found["grpc_management_port"]) == ports[2:]


def test_sagemaker_registers_many_models_on_the_same_port(tmp_path):
    found = settings(["serve"], {"SAGEMAKER_MULTI_MODEL": "true"}, tmp_path)

    assert found["inference_address"] == found["management_address"] == "http://0.0.0.0:8080"
    assert found["enable_model_api"] == "true"
    assert found["model_store"] == str(tmp_path / "opt/ml/models")
    assert found["load_models"] == ""
    assert found["default_workers_per_model"] == "1"


@pytest.mark.parametrize("mode", ["true", "false"])
def test_sagemaker_may_say_how_many_workers(tmp_path, mode):
    environ = {"SAGEMAKER_MULTI_MODEL": mode, "SAGEMAKER_MODEL_SERVER_WORKERS": "3"}

    assert settings(["serve"], environ, tmp_path)["default_workers_per_model"] == "3"


# -- Vertex AI


def test_vertex_chooses_port_and_paths():
    environ = {
        "AIP_HTTP_PORT": "8888",
        "AIP_HEALTH_ROUTE": "/v1/endpoints/1/deployedModels/2",
        "AIP_PREDICT_ROUTE": "/v1/endpoints/1/deployedModels/2:predict",
    }

    assert settings(["torchserve", "--start", "--model-store=/s"], environ) == {
        "model_store": "/s",
        "inference_address": "http://0.0.0.0:8888",
        "health_route": "/v1/endpoints/1/deployedModels/2",
        "predict_route": "/v1/endpoints/1/deployedModels/2:predict",
        "disable_token_authorization": "true",
    }


def test_vertex_has_a_port_by_default():
    environ = {"AIP_PREDICT_ROUTE": "/predictions/mnist"}

    assert settings(["serve"], environ)["inference_address"] == "http://0.0.0.0:8080"


# -- running it


@pytest.fixture
def run(monkeypatch):
    calls = []
    monkeypatch.setattr(os, "execvpe", lambda *call: calls.append(call))

    def do(*args, **environ):
        monkeypatch.setattr(container.sys, "argv", ["tsl-container", *args])
        for name, value in environ.items():
            monkeypatch.setenv(name, value)
        return container.main(), calls

    return do


def test_the_process_becomes_the_command_with_the_whole_environment(run):
    _, ((program, line, environ),) = run("env", PROTOCOL_VERSION="v2", OTHER="x")

    assert (program, line) == ("env", ["env"])
    assert environ["TS_OPEN_INFERENCE_PROTOCOL"] == "oip"
    assert environ["OTHER"] == "x"


def test_models_in_a_bucket_are_not_downloaded_and_that_is_said(run, capsys):
    run("env", AIP_STORAGE_URI="gs://bucket/model")

    assert "AIP_STORAGE_URI is not downloaded" in capsys.readouterr().err


@pytest.mark.parametrize(("error", "code"), [(FileNotFoundError, 127), (PermissionError, 126)])
def test_a_command_that_cannot_be_run_has_the_code_of_a_shell(
    run, monkeypatch, capsys, error, code
):
    def refuse(*call):
        raise error(1, "reason")

    run("x")
    monkeypatch.setattr(os, "execvpe", refuse)

    assert run("no-such-command")[0] == code
    assert "no-such-command cannot be run: reason" in capsys.readouterr().err


# -- the image


@pytest.fixture(scope="module")
def instructions():
    parser = DockerfileParser(path=str(ROOT / "docker" / "Dockerfile"))
    return [(one["instruction"], one["value"]) for one in parser.structure]


def last(instructions, name):
    return [value for instruction, value in instructions if instruction == name][-1]


def test_the_image_does_not_run_as_root_and_checks_its_health(instructions):
    user, _, group = last(instructions, "USER").partition(":")

    assert int(user) > 0
    assert int(group) > 0
    assert last(instructions, "HEALTHCHECK").endswith('CMD ["tsl", "status"]')
    assert last(instructions, "ENTRYPOINT") == '["tsl-container"]'
    assert last(instructions, "CMD") == '["serve"]'


def test_the_image_copies_only_what_exists(instructions):
    sources = [
        word
        for instruction, value in instructions
        if instruction == "COPY" and "--from" not in value
        for word in value.split()[:-1]
        if not word.startswith("--")
    ]

    assert sources
    assert all((ROOT / source).exists() for source in sources)


def test_the_ports_and_folders_of_the_image_are_those_of_its_configuration(instructions, tmp_path):
    text = (ROOT / "docker" / "config.properties").read_text()
    properties = javaproperties.loads(text)
    (tmp_path / "store").mkdir()
    file = tmp_path / "config.properties"
    file.write_text(text.replace("/home/model-server/model-store", str(tmp_path / "store")))

    config = configure(
        started(["torchserve", f"--ts-config={file}"]), {"TEMP": str(tmp_path)}, tmp_path
    )

    exposed = set(last(instructions, "EXPOSE").split())
    addresses = (config.inference_address, config.management_address, config.metrics_address)
    assert {str(address.port) for address in addresses} <= exposed
    assert config.warnings == ()
    made = " ".join(value for instruction, value in instructions if instruction == "RUN")
    assert properties["model_store"] in made
    assert f"/{CONFIG_FILE}" in " ".join(v for i, v in instructions if i == "COPY")
