"""`BaseHandler`: loading a model in every form, and the steps of a call."""

from __future__ import annotations

import json
import sys
import textwrap
from types import SimpleNamespace

import pytest
import torch

from tsl.backend.handlers import acceleration
from tsl.backend.handlers.base_handler import BaseHandler
from tsl.backend.handlers.weights import ALLOW_PICKLE_VARIABLE, load_file
from tsl.protocol.errors import InvalidInput, LoadFailed

MODEL = """
    import torch

    class Double(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.factor = torch.nn.Parameter(torch.tensor(1.0))

        def forward(self, x):
            return x * self.factor
"""


class FakeContext:
    """The part of a context that handlers use."""

    def __init__(self, model_dir, files=None, config=None, headers=None):
        self.system_properties = {"model_dir": str(model_dir), "gpu_id": None}
        self.manifest = {"model": {"modelName": "tiny", **(files or {})}}
        self.model_yaml_config = config if config is not None else {}
        self.headers = headers or {}
        self.times = []
        self.metrics = SimpleNamespace(add_time=lambda *args: self.times.append(args))

    def get_request_header(self, idx, key):
        assert idx == 0
        return self.headers.get(key)


class Echo(BaseHandler):
    """Steps that need no model."""

    def __init__(self):
        pass  # many handlers leave out super().__init__()

    def preprocess(self, data):
        return [row["body"] for row in data]

    def inference(self, data, *args, **kwargs):
        return data

    def postprocess(self, data):
        return data

    def get_insights(self, tensor, inputs, target):
        return [{"inputs": inputs, "target": target}]

    def describe_handle(self):
        return {"about": "echo"}


@pytest.fixture
def model_dir(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(tmp_path))
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        if getattr(sys.modules[name], "__file__", None) == str(tmp_path / f"{name}.py"):
            del sys.modules[name]


def write_model(model_dir, source=MODEL, name="tiny_model.py"):
    (model_dir / name).write_text(textwrap.dedent(source))
    return {"modelFile": name, "serializedFile": "weights.pth"}


def initialized(model_dir, files, **arguments):
    handler = BaseHandler()
    handler.initialize(FakeContext(model_dir, files, **arguments))
    return handler


def answer(handler, values, **arguments):
    return handler.handle(torch.tensor(values), FakeContext("", **arguments))


# -- loading -------------------------------------------------------------------------------


def test_eager_model_gets_its_weights(model_dir):
    torch.save({"factor": torch.tensor(2.0)}, model_dir / "weights.pth")
    (model_dir / "index_to_name.json").write_text(json.dumps({"0": "cat"}))

    handler = initialized(model_dir, write_model(model_dir))

    assert answer(handler, [1.0, 2.0]) == [2.0, 4.0]
    assert handler.initialized
    assert not handler.model.training
    assert handler.mapping == {"0": "cat"}
    assert handler.get_device() == torch.device("cpu")
    assert handler.map_location == "cpu"


def test_eager_model_works_without_weights(model_dir):
    files = write_model(model_dir)
    del files["serializedFile"]

    assert answer(initialized(model_dir, files), [3.0]) == [3.0]


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
def test_torchscript_model_is_loaded(model_dir):
    torch.jit.script(torch.nn.Identity()).save(str(model_dir / "model.pt"))

    handler = initialized(model_dir, {"serializedFile": "model.pt"})

    assert answer(handler, [1.5]) == [1.5]


def test_exported_program_is_loaded(model_dir):
    program = torch.export.export(torch.nn.Softmax(dim=0), (torch.zeros(2),))
    torch.export.save(program, model_dir / "model.pt2")

    handler = initialized(model_dir, {"serializedFile": "model.pt2"})

    assert answer(handler, [0.0, 0.0]) == [0.5, 0.5]


@pytest.mark.parametrize(
    ("files", "words"),
    [
        pytest.param({}, "neither serializedFile nor modelFile", id="nothing"),
        pytest.param({"serializedFile": "w.pth"}, "needs? a modelFile", id="weights-only"),
        pytest.param({"serializedFile": "w.so"}, "aot_compile", id="compiled-without-config"),
        pytest.param({"modelFile": "none.py"}, "missing in the archive", id="no-model-file"),
    ],
)
def test_archive_without_loadable_model_is_refused(model_dir, files, words):
    with pytest.raises(RuntimeError, match=words):
        initialized(model_dir, files)


@pytest.mark.parametrize(
    ("source", "names"),
    [("import torch", "none"), ("class A: ...\nclass B: ...", "A, B")],
    ids=["no-class", "two-classes"],
)
def test_model_file_must_define_one_class(model_dir, source, names):
    with pytest.raises(ValueError, match=names):
        initialized(model_dir, write_model(model_dir, source))


class Custom:
    """Not a tensor: torch refuses it unless full pickles are allowed."""


def test_full_pickle_is_refused_with_the_way_to_allow_it(model_dir):
    torch.save({"factor": torch.tensor(2.0), "note": Custom()}, model_dir / "weights.pth")

    with pytest.raises(LoadFailed) as caught:
        initialized(model_dir, write_model(model_dir))

    assert "allow_pickle: true" in str(caught.value)
    assert ALLOW_PICKLE_VARIABLE in str(caught.value)


@pytest.mark.parametrize("how", ["config", "environment"])
def test_full_pickle_can_be_allowed(model_dir, monkeypatch, how):
    state = torch.nn.Module()  # a whole module, as old archives have it
    torch.save(state, model_dir / "weights.pth")
    config = {"handler": {"allow_pickle": True}} if how == "config" else {}
    if how == "environment":
        monkeypatch.setenv(ALLOW_PICKLE_VARIABLE, "1")
    seen = []
    source = """
        class Model:
            def load_state_dict(self, state): self.state = state
            def to(self, device): pass
            def eval(self): pass
    """

    handler = initialized(model_dir, write_model(model_dir, source), config=config)
    seen.append(handler.model.state)

    assert isinstance(seen[0], torch.nn.Module)


def test_safetensors_without_the_package_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "safetensors.torch", None)

    with pytest.raises(LoadFailed, match="pip install safetensors"):
        load_file("weights.safetensors")


# -- compilation ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("pt2", "expected"),
    [
        pytest.param(None, None, id="absent"),
        pytest.param({"compile": {"enable": False, "backend": "eager"}}, None, id="off"),
        pytest.param({"compile": {"backend": "eager"}}, None, id="not-enabled"),
        pytest.param({"compile": {"enable": True}}, {}, id="defaults"),
        pytest.param(
            {"compile": {"enable": True, "backend": "eager"}}, {"backend": "eager"}, id="on"
        ),
        pytest.param({"export": {"aot_compile": True}}, None, id="export"),
        pytest.param("eager", {"backend": "eager"}, id="old-text"),
        pytest.param({"mode": "max-autotune"}, {"mode": "max-autotune"}, id="old-mapping"),
        pytest.param("nonsense", None, id="unknown-back-end"),
    ],
)
def test_compile_options_of_each_form(pt2, expected):
    assert acceleration.compile_options(pt2) == expected


def test_compile_options_refuse_other_types_and_leave_the_config_alone():
    config = {"compile": {"enable": True, "backend": "eager"}}

    acceleration.compile_options(config)

    assert config == {"compile": {"enable": True, "backend": "eager"}}
    with pytest.raises(ValueError, match="pt2"):
        acceleration.compile_options(5)


def test_model_that_cannot_be_compiled_is_served_as_it_is(caplog):
    model = torch.nn.Identity()

    assert acceleration.compile_model(model, {"no_such_option": 1}) is model
    assert "runs uncompiled" in caplog.text


# -- serving -------------------------------------------------------------------------------


def test_call_runs_the_steps_and_records_its_time():
    context = FakeContext("")

    assert Echo().handle([{"body": 1}, {"body": 2}], context) == [1, 2]

    ((name, elapsed_ms, idx, unit),) = context.times
    assert (name, idx, unit) == ("HandlerTime", None, "ms")
    assert elapsed_ms >= 0


def test_description_comes_alone():
    assert Echo().handle([{}], FakeContext("", headers={"describe": "True"})) == [{"about": "echo"}]


@pytest.mark.parametrize(
    ("rows", "target"),
    [
        pytest.param([{"body": 1}], 0, id="default"),
        pytest.param([{"body": 1, "target": 3}], 3, id="number"),
        pytest.param([{"body": 1, "target": bytearray(b"3")}], 3, id="form-field"),
        pytest.param([{"body": 1, "target": 3}, {"body": 2, "target": "3"}], 3, id="common"),
        pytest.param([{"body": 1, "target": 3}, {"body": 2}], [3, 0], id="one-for-each-row"),
    ],
)
def test_explanation_gets_inputs_and_target(rows, target):
    handler = Echo()

    explanation = handler.handle(rows, FakeContext("", headers={"explain": "True"}))

    assert explanation == [{"inputs": 1, "target": target}]
    assert handler.explain


def test_target_that_is_no_number_is_the_clients_mistake():
    with pytest.raises(InvalidInput, match="target"):
        Echo().handle([{"body": 1, "target": "cat"}], FakeContext("", headers={"explain": "True"}))


def test_handler_without_insights_cannot_explain():
    with pytest.raises(NotImplementedError, match="get_insights"):
        BaseHandler().explain_handle(None, [{"body": 1}])


def test_profiler_runs_all_steps_and_returns_the_answer(monkeypatch):
    monkeypatch.setenv("ENABLE_TORCH_PROFILER", "1")
    finished = []
    handler = Echo()
    handler.profiler_args = {"on_trace_ready": finished.append}

    assert handler.handle([{"body": 7}], FakeContext("")) == [7]
    names = {event.key for event in finished[0].key_averages()}
    assert {"preprocess", "inference", "postprocess"} <= names


def test_profiled_steps_become_metrics():
    context = FakeContext("", config={"handler": {"profile": True}})
    handler = BaseHandler()
    handler.device = "cpu"
    handler.model = torch.neg

    assert handler.handle([1.0], context) == [-1.0]

    assert [each[0] for each in context.times] == [
        "ts_handler_preprocess",
        "ts_handler_inference",
        "ts_handler_postprocess",
        "HandlerTime",
    ]
