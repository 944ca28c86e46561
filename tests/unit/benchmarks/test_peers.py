import json
import struct
from pathlib import Path

import pytest

from benchmarks import work
from benchmarks.peers import encodings, registry
from benchmarks.peers.base import PEERS_VARIABLE, Service, Work
from benchmarks.peers.tensor_servers import MlServer, Triton, model_config
from benchmarks.peers.torchserve import MODEL, Tokens, Tsl
from benchmarks.scenarios.base import near
from benchmarks.scenarios.load import CLASSES


@pytest.mark.parametrize(
    ("encode", "decode", "wrap"),
    [
        (encodings.json_text, encodings.from_json_text, lambda request: request),
        (
            encodings.tensor_text,
            encodings.from_tensor_text,
            lambda request: json.dumps({"outputs": json.loads(request)["inputs"]}).encode(),
        ),
    ],
    ids=["json", "tensor"],
)
def test_an_echo_gives_back_what_was_encoded(encode, decode, wrap):
    assert decode(wrap(encode(b"hello world"))) == b"hello world"


def test_the_json_of_a_binary_request_has_the_size_that_the_header_says():
    request = encodings.tensor_binary(b"x" * 1000)

    head = json.loads(request[: encodings.HEAD_SIZE])
    assert head["inputs"][0]["parameters"]["binary_data_size"] == 1004
    assert request[encodings.HEAD_SIZE :] == struct.pack("<I", 1000) + b"x" * 1000


def binary_answer(values, size):
    output = {"name": "OUTPUT0", "parameters": {"binary_data_size": size}}
    return json.dumps({"outputs": [output]}).encode() + values


def test_a_binary_answer_is_taken_apart():
    item = struct.pack("<I", 5) + b"\xff}{\x00h"

    assert encodings.from_tensor_binary(binary_answer(item, 9)) == b"\xff}{\x00h"


@pytest.mark.parametrize("size", [8, 10], ids=["less", "more"])
def test_a_binary_answer_of_another_size_is_wrong(size):
    with pytest.raises(ValueError, match="instead of"):
        encodings.from_tensor_binary(binary_answer(struct.pack("<I", 5) + b"hello", size))


def test_tritons_model_gathers_batches_only_when_it_is_asked_to():
    alone = model_config(Service())
    batched = model_config(Service(batch_size=32, delay_ms=1, workers=4))

    assert "dynamic_batching" not in alone
    assert "max_queue_delay_microseconds: 1000" in batched
    assert "max_batch_size: 32" in batched
    assert "count: 4" in batched


def test_mlserver_gets_its_settings_in_seconds(tmp_path):
    launch = MlServer().launch(Service(batch_size=8, delay_ms=5, workers=2), tmp_path)

    settings = json.loads((tmp_path / "settings.json").read_text())
    model = json.loads((tmp_path / "model-settings.json").read_text())
    assert settings["http_port"] == launch.port
    assert settings["parallel_workers"] == 2
    assert (model["max_batch_size"], model["max_batch_time"]) == (8, 0.005)


def test_tsl_is_configured_by_its_own_files(tmp_path):
    launch = Tsl().launch(Service(batch_size=32, delay_ms=1), tmp_path)

    config = (tmp_path / "config.properties").read_text()
    assert f"inference_address=http://127.0.0.1:{launch.port}\n" in config
    assert (tmp_path / "store" / f"{MODEL}.mar").is_file()
    assert launch.headers() == {}  # the server is not there yet


def test_tokens_are_read_when_they_are_needed(tmp_path):
    tokens = Tokens(tmp_path)
    assert tokens.header("inference") == {}

    (tmp_path / "key_file.json").write_text('{"inference": {"key": "secret"}}')

    assert tokens.header("inference") == {"Authorization": "Bearer secret"}


def test_only_servers_that_can_do_it_take_part():
    assert not MlServer().serves(Service(work=Work.STREAM))
    assert not Triton().serves(Service(models=100))
    assert Tsl().serves(Service(models=100))


def test_peers_come_in_the_order_of_the_tables():
    assert [peer.name for peer in registry.select(["tsl", "ceiling"])] == ["ceiling", "tsl"]


def test_a_peer_that_is_not_installed_names_the_command(monkeypatch, tmp_path):
    monkeypatch.setenv(PEERS_VARIABLE, str(tmp_path))

    with pytest.raises(SystemExit, match="scripts/bench_peers mosec"):
        registry.select(["mosec"])
    with pytest.raises(SystemExit, match="no peer 'nginx'"):
        registry.select(["nginx"])
    assert [peer.name for peer in registry.select(["all"])] == ["ceiling", "tsl", "tsl-demo"]


def test_the_script_installs_every_peer():
    script = (Path(registry.__file__).parents[2] / "scripts" / "bench_peers").read_text()

    for peer in registry.ALL:
        if peer.name not in registry.ALONE:
            assert f"[{peer.name}]=" in script


def test_an_echo_gives_bodies_back_in_order():
    assert work.echo([b"a", b"b"]) == [b"a", b"b"]


def test_a_classifier_may_be_off_by_rounding_but_not_by_more():
    right = near(CLASSES, 0.01)
    name = next(iter(CLASSES))

    assert right(json.dumps({**CLASSES, name: CLASSES[name] + 0.005}).encode(), 1)
    assert not right(json.dumps({**CLASSES, name: CLASSES[name] + 0.02}).encode(), 1)
    assert not right(b'{"dog": 1.0}', 1)
