"""`BaseHandler`: loading a model in every form, and the steps of a call."""

from __future__ import annotations

import inspect
import json
import os
import sys
import textwrap
import zipfile
from types import SimpleNamespace

import onnx
import pytest
import torch
import torch._export
import torch._inductor
from safetensors.torch import save_file as save_safetensors

from tsl.backend.handlers import acceleration, model_files, optimization
from tsl.backend.handlers.base_handler import BaseHandler
from tsl.backend.handlers.weights import ALLOW_PICKLE_VARIABLE, load_file
from tsl.protocol.errors import InvalidInput, LoadFailed, Unsupported

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
        pytest.param({"serializedFile": "w.pth"}, "without a modelFile", id="weights-only"),
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


def test_safetensors_are_loaded(model_dir):
    save_safetensors({"factor": torch.tensor(2.5)}, model_dir / "weights.safetensors")
    files = write_model(model_dir) | {"serializedFile": "weights.safetensors"}

    assert answer(initialized(model_dir, files), [2.0]) == [5.0]


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
def test_a_state_dict_without_its_class_says_what_is_missing(model_dir):
    torch.save({"factor": torch.tensor(2.0)}, model_dir / "model.pt")

    with pytest.raises(RuntimeError, match=r"model\.pt is not TorchScript .* modelFile"):
        initialized(model_dir, {"serializedFile": "model.pt"})


@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
def test_broken_torchscript_keeps_its_own_error(model_dir):
    (model_dir / "model.pt").write_bytes(b"nonsense")

    with pytest.raises(RuntimeError) as caught:
        initialized(model_dir, {"serializedFile": "model.pt"})

    assert "modelFile" not in str(caught.value)


def onnx_model(path, outputs=1):
    """y = 2 x, and for a second output z = -x; batches of any number of rows of two values."""
    rows = onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ["rows", 2])
    two = onnx.helper.make_tensor("two", onnx.TensorProto.FLOAT, [1], [2.0])
    nodes = [
        onnx.helper.make_node("Mul", ["x", "two"], ["y"]),
        onnx.helper.make_node("Neg", ["x"], ["z"]),
    ]
    results = [
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, ["rows", 2])
        for name in "yz"
    ]
    graph = onnx.helper.make_graph(nodes[:outputs], "g", [rows], results[:outputs], [two])
    opset = [onnx.helper.make_opsetid("", 17)]
    onnx.save(onnx.helper.make_model(graph, opset_imports=opset, ir_version=9), path)


def test_onnx_model_is_run_without_a_handler_of_its_own(model_dir):
    onnx_model(model_dir / "model.onnx")

    handler = initialized(model_dir, {"serializedFile": "model.onnx"})

    assert answer(handler, [[1.0, 2.0], [3.0, 4.0]]) == [[2.0, 4.0], [6.0, 8.0]]
    assert handler.model.get_inputs()[0].name == "x"  # what handlers of their own call


def test_onnx_model_with_several_outputs_returns_them_by_name(model_dir):
    onnx_model(model_dir / "model.onnx", outputs=2)
    handler = initialized(model_dir, {"serializedFile": "model.onnx"})

    outputs = handler.inference(torch.tensor([[1.0, 2.0]]))

    assert {name: value.tolist() for name, value in outputs.items()} == {
        "y": [[2.0, 4.0]],
        "z": [[-1.0, -2.0]],
    }


def test_onnx_model_takes_as_many_inputs_as_it_has(model_dir):
    onnx_model(model_dir / "model.onnx")
    handler = initialized(model_dir, {"serializedFile": "model.onnx"})

    with pytest.raises(ValueError, match=r"1 inputs \(x\), not 2"):
        handler.inference(torch.zeros(1, 2), torch.zeros(1, 2))


def test_onnx_model_without_onnxruntime_says_what_to_install(model_dir, monkeypatch):
    monkeypatch.setattr(model_files, "is_installed", lambda package: False)

    with pytest.raises(RuntimeError, match="pip install onnxruntime"):
        initialized(model_dir, {"serializedFile": "model.onnx"})


def test_library_of_aotinductor_is_opened_by_torch(model_dir, monkeypatch):
    opened = []
    monkeypatch.setattr(
        torch._export, "aot_load", lambda *args: opened.append(args) or torch.neg, raising=True
    )
    config = {"pt2": {"export": {"aot_compile": True}}}

    handler = initialized(model_dir, {"serializedFile": "model.so"}, config=config)

    assert opened == [(str(model_dir / "model.so"), "cpu")]
    assert answer(handler, [1.0]) == [-1.0]


def test_package_of_aotinductor_is_told_from_an_exported_program(model_dir, monkeypatch):
    with zipfile.ZipFile(model_dir / "model.pt2", "w") as package:
        package.writestr("model/data/aotinductor/model/x.wrapper.so", b"")
    opened = []
    monkeypatch.setattr(
        torch._inductor,
        "aoti_load_package",
        lambda *args: opened.append(args) or torch.neg,
        raising=True,
    )

    handler = initialized(model_dir, {"serializedFile": "model.pt2"})

    assert opened == [(str(model_dir / "model.pt2"),)]
    assert answer(handler, [1.0]) == [-1.0]
    assert handler.differentiable_model is None


@pytest.mark.slow
@pytest.mark.skipif(
    not os.environ.get("TSL_TEST_COMPILER"),
    reason="compiles C++ for a minute; TSL_TEST_COMPILER=1 runs it",
)
@pytest.mark.parametrize("kind", ["so", "pt2"])
@pytest.mark.filterwarnings("ignore")  # of the compiler's own making
def test_model_that_aotinductor_has_compiled_is_run(model_dir, kind):
    model, example = torch.nn.Softmax(dim=0), (torch.zeros(2),)
    path = str(model_dir / f"model.{kind}")
    if kind == "so":
        torch._export.aot_compile(model, example, options={"aot_inductor.output_path": path})
    else:
        program = torch.export.export(model, example)
        torch._inductor.aoti_compile_and_package(program, package_path=path)

    config = {"pt2": {"export": {"aot_compile": True}}}
    handler = initialized(model_dir, {"serializedFile": f"model.{kind}"}, config=config)

    assert answer(handler, [0.0, 0.0]) == [0.5, 0.5]


# -- optimisation, warm-up -----------------------------------------------------------------


class Convolutions(torch.nn.Module):
    """What is fused: a convolution, a batch norm with statistics, an activation."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.body = torch.nn.Sequential(
            torch.nn.Conv2d(3, 8, 3), torch.nn.BatchNorm2d(8), torch.nn.ReLU()
        )
        self.body[1].running_mean.uniform_(-1, 1)
        self.body[1].running_var.uniform_(0.5, 2)
        self.head = torch.nn.Linear(8, 5)

    def forward(self, x):
        return self.head(self.body(x).mean(dim=(2, 3)))


def saved_model(model_dir, model, kind):
    """Save a model; returns the section ``model`` of the manifest."""
    if kind == "eager":
        torch.save(model.state_dict(), model_dir / "weights.pth")
        source = f"{inspect.getsource(type(model))}".replace("class", "import torch\nclass", 1)
        return write_model(model_dir, source)
    scripted = torch.jit.script(model)
    if kind == "frozen":
        scripted = torch.jit.freeze(scripted)
    torch.jit.save(scripted, model_dir / "model.pt")
    return {"serializedFile": "model.pt"}


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize("kind", ["eager", "scripted", "frozen"])
def test_optimised_model_computes_the_same(model_dir, kind, caplog):
    caplog.set_level("INFO")
    model = Convolutions().eval()
    files = saved_model(model_dir, model, kind)
    images = torch.randn(4, 3, 16, 16)
    with torch.no_grad():
        expected = model(images)

    config = {"handler": {"optimize": True, "input_shape": [1, 3, 16, 16]}}
    handler = initialized(model_dir, files, config=config)

    assert "frozen and optimised" in caplog.text
    assert handler.model is not handler.differentiable_model
    torch.testing.assert_close(handler.inference(images), expected, rtol=0, atol=1e-5)


class Padded(torch.nn.Module):
    """Pads by the size of its input, which a trace takes for a constant."""

    def forward(self, x):
        size = x.shape[-1]
        return torch.nn.functional.pad(x, (0, size % 3)).cumsum(-1)


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_inputs_of_another_shape_than_the_traced_one_go_to_the_original():
    model = Padded().eval()

    optimized = optimization.optimize(model, torch.rand(1, 4), "cpu")

    assert optimized is not model
    for shape in [(1, 4), (3, 4), (2, 5)]:
        rows = torch.rand(shape)
        torch.testing.assert_close(optimized(rows), model(rows))


@pytest.mark.parametrize(
    ("model", "device", "example", "words"),
    [
        (torch.nn.Identity(), "meta", torch.zeros(1), "on the CPU"),
        (torch.neg, "cpu", torch.zeros(1), "neither"),
        (torch.nn.Identity(), "cpu", None, "needs handler: input_shape"),
        (torch.nn.Linear(2, 1).eval(), "cpu", torch.zeros(1, 3), "without optimize"),
    ],
    ids=["accelerator", "function", "no-shape", "wrong-shape"],
)
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_model_that_cannot_be_optimised_is_served_as_it_is(model, device, example, words, caplog):
    assert optimization.optimize(model, example, device) is model
    assert words in caplog.text


class Undecided(torch.nn.Module):
    """Does something else for two rows than for one, which tracing cannot know."""

    def forward(self, x):
        return x if len(x) == 1 else -x


@pytest.mark.filterwarnings("ignore")
def test_model_that_would_answer_differently_is_not_optimised(caplog):
    model = Undecided().eval()

    assert optimization.optimize(model, torch.ones(1, 2), "cpu") is model
    assert "without optimize" in caplog.text


@pytest.mark.parametrize(("wanted", "calls"), [(True, 3), (1, 1), (False, 0), (None, 0)])
def test_warm_up_calls_the_model_before_requests_come(wanted, calls):
    seen = []

    optimization.warm_up(seen.append, torch.ones(1), wanted)

    assert len(seen) == calls


@pytest.mark.parametrize(
    ("section", "words"),
    [
        ({"warm_up": True}, "needs input_shape"),
        ({"warm_up": "yes", "input_shape": [1]}, "warm_up must be"),
        ({"warm_up": -1, "input_shape": [1]}, "warm_up must be"),
        ({"warm_up": True, "input_shape": "1x3"}, "input_shape must be"),
        ({"warm_up": True, "input_shape": [1], "input_dtype": "text"}, "input_dtype must be"),
    ],
    ids=["no-shape", "text", "negative", "wrong-shape", "wrong-type"],
)
def test_wrong_settings_of_the_warm_up_are_named(model_dir, section, words):
    files = write_model(model_dir)
    del files["serializedFile"]

    with pytest.raises(ValueError, match=words):
        initialized(model_dir, files, config={"handler": section})


@pytest.mark.parametrize(
    ("dtype", "expected"), [("int64", torch.int64), ("bfloat16", torch.bfloat16)]
)
def test_example_has_the_shape_and_type_of_the_configuration(dtype, expected):
    section = {"input_shape": [1, 3], "input_dtype": dtype}

    example = optimization.configured_example(section, "cpu")

    assert example.shape == (1, 3)
    assert example.dtype == expected


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


@pytest.mark.parametrize("backend", ["eager", "aot_eager"])
@pytest.mark.filterwarnings("ignore")  # of the compiler's own making
def test_compiled_model_computes_the_same(model_dir, backend):
    torch.save({"factor": torch.tensor(2.0)}, model_dir / "weights.pth")
    config = {"pt2": {"compile": {"enable": True, "backend": backend}}}

    handler = initialized(model_dir, write_model(model_dir), config=config)

    assert type(handler.model).__name__ == "OptimizedModule"
    assert answer(handler, [1.0, 2.0]) == [2.0, 4.0]


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
    with pytest.raises(Unsupported, match="get_insights"):
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
