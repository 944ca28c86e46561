"""The helpers around transformers and huggingface_hub, over stand-ins of these."""

from pathlib import Path

import pytest
import torch
from optional_packages import block, install

from tsl.backend.hf_streamer import TextIteratorStreamerBatch
from tsl.backend.hf_utils import download_model


class RowStreamer:
    """The part of transformers' TextIteratorStreamer that is used, without decoding words."""

    def __init__(self, tokenizer, skip_prompt=False, timeout=None, **decode_kwargs):
        self.made_with = (tokenizer, skip_prompt, timeout, decode_kwargs)
        self.pieces = []

    def put(self, value):
        assert value.ndim == 1
        self.pieces.append("+".join(str(token) for token in value.tolist()))

    def end(self):
        self.pieces.append(None)

    def __next__(self):
        piece = self.pieces.pop(0)
        if piece is None:
            raise StopIteration
        return piece


@pytest.fixture
def streamers(monkeypatch):
    install(monkeypatch, "transformers.generation.streamers", TextIteratorStreamer=RowStreamer)


def test_rows_are_streamed_side_by_side_until_one_ends(streamers):
    streamer = TextIteratorStreamerBatch("tok", 2, True, 1.5, skip_special_tokens=True)

    streamer.put(torch.tensor([[1, 2], [3, 4]]))
    streamer.put(torch.tensor([5, 6]))
    streamer.end()

    assert list(streamer) == [[{"text": "1+2"}, {"text": "3+4"}], [{"text": "5"}, {"text": "6"}]]
    assert streamer.streamers[0].made_with == ("tok", True, 1.5, {"skip_special_tokens": True})


def test_a_batch_of_another_size_is_refused(streamers):
    with pytest.raises(ValueError, match="for 2 rows, the model gave 3"):
        TextIteratorStreamerBatch("tok", 2).put(torch.zeros(3))


def test_without_transformers_the_error_says_what_to_install(monkeypatch):
    block(monkeypatch, "transformers")

    with pytest.raises(ImportError, match="pip install transformers"):
        TextIteratorStreamerBatch("tok", 2)


@pytest.mark.parametrize(
    ("environ", "use_token", "token"),
    [({"HF_TOKEN": "t"}, True, "t"), ({}, True, True), ({"HF_TOKEN": "t"}, False, False)],
    ids=["variable", "stored", "none"],
)
def test_a_model_is_downloaded(monkeypatch, tmp_path, environ, use_token, token):
    calls = []

    def snapshot_download(model_id, **options):
        calls.append((model_id, options))
        return str(tmp_path / "snapshot")

    install(monkeypatch, "huggingface_hub", snapshot_download=snapshot_download)
    for name in ("HUGGINGFACE_TOKEN", "HF_TOKEN"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environ.items():
        monkeypatch.setenv(name, value)

    found = download_model("org/model", "v1", str(tmp_path / "cache"), use_token)

    assert found == Path(tmp_path / "snapshot")
    model_id, options = calls[0]
    assert model_id == "org/model"
    assert (options["revision"], options["token"]) == ("v1", token)
    assert options["cache_dir"] == str(tmp_path / "cache")
    assert (tmp_path / "cache").is_dir()


def test_without_the_hub_s_package_the_error_says_what_to_install(monkeypatch):
    block(monkeypatch, "huggingface_hub")

    with pytest.raises(ImportError, match="pip install huggingface_hub"):
        download_model()
