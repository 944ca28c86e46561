"""Documents become plain data, whichever parser PyYAML was built with."""

from __future__ import annotations

import importlib

import pytest
import yaml

from tsl.protocol import safe_yaml


@pytest.fixture(params=["with C", "without C"])
def loading(request, monkeypatch):
    """The module as it is with a build of PyYAML."""
    with monkeypatch.context() as patch:
        if request.param == "without C":
            patch.delattr(yaml, "CSafeLoader", raising=False)
        yield importlib.reload(safe_yaml)
    importlib.reload(safe_yaml)


def test_a_document_becomes_plain_data(loading):
    assert loading.load_plain("a: [1, 2.5, no]\nb: {c: null}") == {
        "a": [1, 2.5, False],
        "b": {"c": None},
    }


def test_a_document_cannot_run_anything(loading):
    with pytest.raises(yaml.YAMLError):
        loading.load_plain("!!python/object/apply:os.getcwd []")


def test_a_worker_reads_its_model_s_configuration(loading, tmp_path):
    from tsl.backend.service import read_model_yaml

    (tmp_path / "m.yaml").write_text("a: 1")

    assert read_model_yaml(str(tmp_path), {"model": {"configFile": "m.yaml"}}) == {"a": 1}
