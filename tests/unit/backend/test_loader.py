"""Which handler a handler string finds, and what happens when it is loaded."""

import json
import sys
from types import SimpleNamespace

import pytest

from tsl.backend import loader
from tsl.backend.loader import (
    ModelLoader,
    ModelLoaderFactory,
    find_entry_point,
    load_error_code,
    read_manifest,
)
from tsl.backend.streaming import ReplyStream
from tsl.protocol.errors import LoadFailed
from tsl.protocol.frames import Load, Part, Predict, Result, Row

CLASS = """
import collections
from pathlib import Path

class Echo:
    def __init__(self):
        self.seen = None
    def initialize(self, context):
        self.seen = context
    def handle(self, data, context):
        return [context is self.seen] * len(data)
"""


@pytest.fixture
def model_dir(tmp_path, monkeypatch):
    """A folder to import from; what was imported is forgotten afterwards."""
    monkeypatch.syspath_prepend(str(tmp_path))
    before = set(sys.modules)
    yield tmp_path
    for name in set(sys.modules) - before:
        if getattr(sys.modules[name], "__file__", None) and str(tmp_path) in str(
            sys.modules[name].__file__
        ):
            del sys.modules[name]


def write(model_dir, text, name="my_handler.py"):
    (model_dir / name).write_text(text)


def load_of(model_dir, handler="my_handler.py", **changes):
    load = Load("m", str(model_dir), handler, "", 2, -1, True, 1000, True, "")
    return load._replace(**changes)


def answer(service, *bodies):
    rows = [Row("r", [], [], [Part("body", "", body)]) for body in bodies]
    result = service.predict(Predict(1, rows), ReplyStream(SimpleNamespace(), 1000))
    assert isinstance(result, Result)
    return [bytes(reply.body) for reply in result.replies]


# Handler strings.


@pytest.mark.parametrize(
    ("handler", "expected"),
    [
        ("my_handler", "handle"),
        ("my_handler.py", "handle"),
        ("sub/folder/my_handler.py", "handle"),
        ("my_handler:other", "other"),
        ("my_handler.py:other", "other"),
    ],
)
def test_a_handler_string_names_a_module_and_maybe_a_function(model_dir, handler, expected):
    write(
        model_dir,
        "def handle(data, context):\n    return 'handle'\n"
        "def other(data, context):\n    return 'other'\n",
    )

    entry_point, _ = find_entry_point(handler)

    assert entry_point([], None) == expected


def test_a_function_is_initialised_by_a_call_without_data(model_dir):
    write(model_dir, "CALLS = []\ndef handle(data, context):\n    CALLS.append((data, context))\n")
    entry_point, initialize = find_entry_point("my_handler")

    initialize("the context")

    assert entry_point.__globals__["CALLS"] == [(None, "the context")]


def test_a_function_goes_before_a_class(model_dir):
    write(model_dir, CLASS + "\ndef handle(data, context):\n    return 'function'\n")

    entry_point, _ = find_entry_point("my_handler")

    assert entry_point([], None) == "function"


@pytest.mark.parametrize("handler", ["my_handler", "my_handler:no_such_name"])
def test_the_only_class_of_a_module_is_its_handler(model_dir, handler):
    write(model_dir, CLASS)

    entry_point, initialize = find_entry_point(handler)

    assert type(entry_point.__self__).__name__ == "Echo"
    assert initialize.__self__ is entry_point.__self__


def test_handle_may_be_any_callable_of_the_instance(model_dir):
    write(
        model_dir,
        "class H:\n"
        "    def __init__(self):\n        self.handle = dict\n"
        "    def initialize(self, context):\n        pass\n",
    )

    assert find_entry_point("my_handler")[0] is dict


@pytest.mark.parametrize(
    ("text", "error", "match"),
    [
        ("", ValueError, r"Expected only one class .* \[\]"),
        ("class A: pass\nclass B: pass", ValueError, r"\['A', 'B'\]"),
        ("class A:\n    def handle(self, d, c): pass", AttributeError, "initialize"),
        ("class A:\n    def initialize(self, c): pass", AttributeError, "handle"),
    ],
    ids=["empty", "two-classes", "no-initialize", "no-handle"],
)
def test_a_module_that_is_no_handler(model_dir, text, error, match):
    write(model_dir, text)

    with pytest.raises(error, match=match):
        find_entry_point("my_handler")


# Built-in handlers.


@pytest.fixture
def built_in(model_dir, monkeypatch):
    """A package of built-in handlers with one good and one broken module."""
    package = model_dir / "built_in_handlers"
    package.mkdir()
    write(package, "", "__init__.py")
    write(package, CLASS, "ready_made.py")
    write(package, "import no_such_dependency", "broken.py")
    monkeypatch.setattr(loader, "BUILT_IN", ("built_in_handlers",))


@pytest.mark.usefixtures("built_in")
def test_a_name_that_the_model_does_not_have_is_a_built_in_handler():
    entry_point, _ = find_entry_point("ready_made")

    assert type(entry_point.__self__).__module__ == "built_in_handlers.ready_made"


@pytest.mark.usefixtures("built_in")
def test_a_module_of_the_model_goes_before_a_built_in_one(model_dir):
    write(model_dir, "def handle(data, context):\n    return 'mine'\n", "ready_made.py")

    assert find_entry_point("ready_made")[0]([], None) == "mine"


@pytest.mark.usefixtures("built_in")
@pytest.mark.parametrize("name", ["ready_made", "broken"])
def test_an_import_that_fails_inside_the_models_module_is_the_error(model_dir, name):
    write(model_dir, "import missing_dependency", f"{name}.py")

    with pytest.raises(ModuleNotFoundError, match="missing_dependency"):
        find_entry_point(name)


@pytest.mark.usefixtures("built_in")
def test_an_import_error_inside_the_models_module_is_the_error(model_dir):
    write(model_dir, "from json import no_such_name", "ready_made.py")

    with pytest.raises(ImportError, match="no_such_name"):
        find_entry_point("ready_made")


@pytest.mark.usefixtures("built_in")
def test_an_import_that_fails_inside_a_built_in_handler_is_the_error():
    with pytest.raises(ModuleNotFoundError, match="no_such_dependency"):
        find_entry_point("broken")


@pytest.mark.usefixtures("built_in")
def test_a_handler_that_is_nowhere():
    with pytest.raises(ModuleNotFoundError, match="no module 'nowhere' in the model"):
        find_entry_point("nowhere")


# Loading.


def test_a_loaded_model_answers_and_its_context_is_that_of_initialize(model_dir):
    write(model_dir, CLASS)

    service = ModelLoader.load(load_of(model_dir), [].append)

    assert answer(service, b"a", b"b") == [b"true", b"true"]


@pytest.mark.parametrize(("gpu_id", "expected"), [(-1, None), (0, 0), (3, 3)])
def test_the_context_knows_the_accelerator(model_dir, gpu_id, expected):
    write(model_dir, CLASS)

    service = ModelLoader.load(load_of(model_dir, gpu_id=gpu_id), [].append)

    assert service.context.system_properties["gpu_id"] == expected


def test_settings_of_the_frame_reach_the_service(model_dir, capsys):
    write(model_dir, "def handle(data, context):\n    return [data and data[0]['body']]\n")
    service = ModelLoader.load(load_of(model_dir, max_response_bytes=3), [].append)

    assert answer(service, b"abc") == [b"abc"]
    assert b"max_response_size is 3" in answer(service, b"abcd")[0]


def test_metrics_of_initialize_reach_the_sink_as_the_models(model_dir):
    write(model_dir, "def handle(data, context):\n    context.metrics.add_counter('Loads', 1)\n")
    records = []

    ModelLoader.load(load_of(model_dir), records.append)

    assert [record.name for record in records] == ["Loads"]
    assert records[0].dimensions == ["ModelName", "m", "Level", "Model"]


def test_an_envelope_wraps_the_calls_but_not_the_initialisation(model_dir, monkeypatch):
    write(
        model_dir, "SEEN = []\ndef handle(data, context):\n    SEEN.append(data)\n    return data\n"
    )

    class Envelope:
        def __init__(self, entry_point):
            self.entry_point = entry_point

        def handle(self, data, context):
            return self.entry_point([row["body"] for row in data], context)

    monkeypatch.setattr(loader, "load_envelope", {"body": Envelope}.__getitem__)

    service = ModelLoader.load(load_of(model_dir, envelope="body"), [].append)

    assert answer(service, b"a") == [b"a"]
    seen = sys.modules["my_handler"].SEEN
    assert seen == [None, [bytearray(b"a")]]


def test_what_initialize_raises_comes_out_unchanged(model_dir):
    write(model_dir, "def handle(data, context):\n    raise KeyError('weights')\n")

    with pytest.raises(KeyError, match="weights"):
        ModelLoader.load(load_of(model_dir), [].append)


def test_the_loader_for_unit_tests_of_handlers(model_dir):
    write(model_dir, CLASS)
    model_loader = ModelLoaderFactory.get_model_loader()

    service = model_loader.load("m", str(model_dir), "my_handler.py", None, 1)

    assert answer(service, b"a") == [b"true"]


# Failures and manifests.


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (MemoryError(), "load_out_of_memory"),
        (RuntimeError("CUDA error: out of memory"), "load_out_of_memory"),
        (NotImplementedError("CUDA"), "load_out_of_memory"),
        (RuntimeError("other"), "load_failed"),
        (ValueError("CUDA"), "load_failed"),
        (LoadFailed("no such envelope"), "load_failed"),
        (SystemExit(2), "load_failed"),
    ],
    ids=repr,
)
def test_how_a_failure_to_load_is_reported(error, code):
    assert load_error_code(error) == code


def test_a_manifest_is_plain_json(tmp_path):
    (tmp_path / "MAR-INF").mkdir()
    manifest = {"model": {"modelName": "m", "extra": [1]}}
    (tmp_path / "MAR-INF" / "MANIFEST.json").write_text(json.dumps(manifest))

    assert read_manifest(str(tmp_path)) == manifest


def test_a_model_without_manifest_has_none(tmp_path):
    assert read_manifest(str(tmp_path)) is None


@pytest.mark.parametrize("text", ["[]", "{"], ids=["list", "broken"])
def test_a_manifest_that_is_no_object_is_refused(tmp_path, text):
    (tmp_path / "MAR-INF").mkdir()
    (tmp_path / "MAR-INF" / "MANIFEST.json").write_text(text)

    with pytest.raises(ValueError, match=r"JSON object|Expecting property name"):
        read_manifest(str(tmp_path))


def test_a_model_that_takes_tensors_reads_documents_itself(model_dir):
    write(model_dir, "def handle(data, context):\n    return data\n")
    write(model_dir, "inputFormat: tensors\n", "config.yaml")
    (model_dir / "MAR-INF").mkdir()
    manifest = {"model": {"configFile": "config.yaml"}}
    write(model_dir / "MAR-INF", json.dumps(manifest), "MANIFEST.json")

    service = ModelLoader.load(load_of(model_dir), lambda record: None)

    assert not service.decode_input
