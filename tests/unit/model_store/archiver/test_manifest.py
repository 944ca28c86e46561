import json

import pytest

from tsl.model_store.archiver import Manifest, Model, RuntimeType


@pytest.fixture
def model():
    return Model(
        model_name="m",
        serialized_file="w.pt",
        handler="h.py",
        model_version="2",
        extensions={"a": 1},
        requirements_file="r.txt",
        config_file="c.yaml",
    )


def test_a_model_is_a_json_object_without_what_is_not_given(model):
    assert json.loads(repr(model)) == {
        "modelName": "m",
        "serializedFile": "w.pt",
        "handler": "h.py",
        "modelVersion": "2",
        "extensions": {"a": 1},
        "requirementsFile": "r.txt",
        "configFile": "c.yaml",
    }
    assert list(model.model_dict) == list(json.loads(str(model)))


def test_a_manifest_has_torchserve_s_members_in_its_order(model):
    document = json.loads(str(Manifest(RuntimeType.PYTHON.value, model)))

    assert list(document) == ["createdOn", "runtime", "model", "archiverVersion"]
    assert document["model"] == model.__to_dict__()


def test_the_time_of_a_manifest_can_be_given(model, monkeypatch):
    monkeypatch.setenv("SOURCE_DATE_EPOCH", "0")

    assert Manifest("python", model).manifest_dict["createdOn"] == "01/01/1980 00:00:00"
