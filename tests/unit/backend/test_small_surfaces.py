"""Old base classes, folders of models, environments, groups, DALI: the rarely used names of ``ts``."""

import io
import json
import logging
import sys
import urllib.request
from types import SimpleNamespace

import pytest
import torch
from optional_packages import block, install

from tsl.backend import model_folders
from tsl.backend.handlers.base_deepspeed_handler import BaseDeepSpeedHandler
from tsl.backend.handlers.base_pippy_handler import BasePippyHandler
from tsl.backend.handlers.dali_handler import get_dali_pipeline
from tsl.backend.handlers.dali_image_classifier import DALIImageClassifier
from tsl.backend.model_service import SingleNodeService
from tsl.backend.timer import timeit
from tsl.protocol.errors import InvalidInput, LoadFailed


class Doubling(SingleNodeService):
    def _preprocess(self, data):
        return data["body"]

    def _inference(self, data):
        return data * 2

    def _postprocess(self, data):
        return {"answer": data}


def test_an_old_service_answers_row_by_row(tmp_path):
    (tmp_path / "signature.json").write_text('{"input_type": "text"}')
    manifest = {"Model": {"Signature": "signature.json"}}

    service = Doubling("m", str(tmp_path), manifest)

    assert service.signature == {"input_type": "text"}
    assert service.handle([{"body": "a"}, {"body": "b"}], None) == [
        {"answer": "aa"},
        {"answer": "bb"},
    ]


def test_an_old_service_learns_from_the_context(tmp_path):
    service = Doubling("m", ".", None)
    properties = {"model_dir": str(tmp_path), "gpu_id": 1}
    service.initialize(SimpleNamespace(model_name="n", manifest={}, system_properties=properties))

    assert (service.model_name, service.gpu, service.signature) == ("n", 1, {})


def test_weights_are_downloaded_once(tmp_path, monkeypatch):
    asked = []

    def urlopen(url, timeout):
        asked.append(url)
        return io.BytesIO(b"weights")

    monkeypatch.setattr(model_folders, "urlopen", urlopen)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    (tmp_path / "m").mkdir()

    for _ in range(2):
        model_folders.download_model("https://example.org/a/w.pt?x=1", tmp_path / "m")

    assert (tmp_path / "m" / "model.pt").read_bytes() == b"weights"
    assert asked == ["https://example.org/a/w.pt?x=1"]


def test_weights_come_from_the_network_only(tmp_path, monkeypatch):
    monkeypatch.setattr(urllib.request, "urlopen", None)

    with pytest.raises(ValueError, match="must begin with https://"):
        model_folders.download_model("file:///etc/passwd", tmp_path)


def test_files_are_copied_under_new_names(tmp_path):
    for name in ("from", "to"):
        (tmp_path / name).mkdir()
    (tmp_path / "from" / "a").write_text("x")

    model_folders.copy_files(tmp_path / "from", tmp_path / "to", {"a": "b"})

    assert (tmp_path / "to" / "b").read_text() == "x"


def test_a_function_is_timed(caplog):
    @timeit
    def work(value):
        return value + 1

    with caplog.at_level(logging.INFO, "tsl.backend.timer"):
        assert work(1) == 2

    assert "work took 0." in caplog.text


def test_a_pipeline_handler_needs_torchrun(monkeypatch):
    monkeypatch.delenv("LOCAL_RANK", raising=False)

    with pytest.raises(LoadFailed, match="LOCAL_RANK is not set"):
        BasePippyHandler().initialize(None)


def test_a_pipeline_handler_joins_its_group(monkeypatch):
    joined = []
    module = sys.modules[BasePippyHandler.__module__]
    monkeypatch.setattr(module, "initialize_rpc_workers", lambda *given: joined.append(given))
    monkeypatch.setenv("LOCAL_RANK", "1")
    monkeypatch.setenv("WORLD_SIZE", "2")
    handler = BasePippyHandler()

    handler.initialize("context")

    assert joined == [(1, 2, "context")]
    assert handler.device == torch.device("cpu")


def test_a_deepspeed_handler_knows_its_accelerator(monkeypatch):
    monkeypatch.setenv("LOCAL_RANK", "3")
    handler = BaseDeepSpeedHandler()

    handler.initialize(None)

    assert handler.device == 3


# DALI.

SETTINGS = {"batch_size": 2, "num_threads": 1, "device_id": 0, "seed": 7}


class Images:
    """The output of a pipeline; each image becomes its bytes."""

    def __init__(self, sources):
        self.sources = sources

    def __len__(self):
        return len(self.sources)

    def at(self, index):
        return self.sources[index].astype("float32")


class Pipeline:
    def __init__(self, **options):
        self.options = options

    deserialize = classmethod(lambda cls, **options: cls(**options))

    def run(self, source):
        return [Images(source)]


def dali_context(folder, **dali):
    return SimpleNamespace(
        model_yaml_config={"dali": dali} if dali else {},
        system_properties={"model_dir": str(folder)},
    )


def test_a_stored_pipeline_is_loaded(monkeypatch, tmp_path):
    install(monkeypatch, "nvidia.dali.pipeline", Pipeline=Pipeline)
    (tmp_path / "p.dali").touch()

    pipeline = get_dali_pipeline(dali_context(tmp_path, **SETTINGS, pipeline_file="p.dali"))

    file = str(tmp_path / "p.dali")
    assert pipeline.options == {**SETTINGS, "filename": file, "prefetch_queue_depth": 1}
    with pytest.raises(LoadFailed, match=r"gone\.dali is missing"):
        get_dali_pipeline(dali_context(tmp_path, **SETTINGS, pipeline_file="gone.dali"))


def test_dali_s_settings_and_package_are_asked_for(monkeypatch, tmp_path):
    block(monkeypatch, "nvidia")

    with pytest.raises(LoadFailed, match="batch_size, num_threads, device_id, seed"):
        get_dali_pipeline(dali_context(tmp_path))
    with pytest.raises(LoadFailed, match="pip install nvidia-dali-cuda120"):
        get_dali_pipeline(dali_context(tmp_path, **SETTINGS))


def test_images_are_decoded_by_the_pipeline_and_classified():
    handler = DALIImageClassifier()
    handler.pipeline = Pipeline()
    handler.device = "cpu"
    handler.mapping = {"0": "cat", "1": "dog"}
    handler.set_max_result_classes(1)

    images = handler.preprocess([{"body": bytes([0, 9])}, {"data": bytearray([5, 1])}])
    answers = handler.postprocess(images)

    assert images.tolist() == [[0, 9], [5, 1]]
    assert [list(each) for each in answers] == [["dog"], ["cat"]]
    assert json.dumps(answers)
    with pytest.raises(InvalidInput, match="not an image file"):
        handler.preprocess([{"body": "text"}])
