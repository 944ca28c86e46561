import pytest

from tsl.model_store import inspection
from tsl.model_store.inspection import find_problems, inspect_model


@pytest.fixture
def model(tmp_path, model_files):
    """Write a model's folder; arguments are members of the manifest."""

    def write(extra=None, **members):
        for name, content in model_files(extra, **members).items():
            path = tmp_path / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        return tmp_path

    return write


def test_a_whole_model_has_no_problem(model):
    folder = model(
        {
            "w.pt": b"x",
            "m.py": b"class Model: pass\n",
            "c.yaml": b"batchSize: 2\n",
            "r.txt": b"",
        },
        serializedFile="w.pt",
        modelFile="m.py",
        configFile="c.yaml",
        requirementsFile="r.txt",
    )

    assert find_problems(folder) == []


@pytest.mark.parametrize(
    "handler", ["echo.py", "echo", "echo:handle", "echo.py:handle", "x/echo.py", "package"]
)
def test_a_handler_in_the_archive_is_found(model, handler):
    folder = model({"package/__init__.py": b""}, handler=handler)

    assert find_problems(folder) == []
    assert not inspect_model(folder).is_built_in
    assert inspect_model(folder).handler_file in ("echo.py", "package/__init__.py")


@pytest.mark.parametrize("handler", ["image_classifier", "base_handler", "text_handler"])
def test_a_built_in_handler_needs_no_file(model, handler):
    folder = model(handler=handler)

    assert find_problems(folder) == []
    assert inspect_model(folder).is_built_in
    assert inspect_model(folder).torch_users == (f"the built-in handler {handler}",)


def test_a_file_goes_before_a_built_in_handler(model):
    found = inspect_model(model({"image_classifier.py": b""}, handler="image_classifier"))

    assert not found.is_built_in
    assert found.handler_file == "image_classifier.py"


def test_a_handler_of_the_other_back_end_is_for_its_runtime_only(model):
    assert len(find_problems(model(handler="BaseHandler"))) == 1


def test_a_missing_manifest_is_a_problem(tmp_path):
    assert "MANIFEST.json" in find_problems(tmp_path)[0]


def test_a_broken_manifest_is_a_problem(model):
    folder = model({"MAR-INF/MANIFEST.json": b"{"})

    assert "is not valid JSON" in find_problems(folder)[0]


@pytest.mark.parametrize(
    ("extra", "members", "expected"),
    [
        ({}, {"modelName": None}, "The manifest has no modelName."),
        ({}, {"modelName": "a/b"}, "modelName of the manifest must not contain a slash"),
        ({}, {"modelVersion": "1/2"}, "modelVersion of the manifest must not contain a slash"),
        ({}, {"handler": None}, "The manifest has no handler."),
        ({}, {"handler": "gone.py"}, "The handler 'gone.py' is neither in the archive nor built"),
        ({"echo.py": b"def ("}, {}, "echo.py cannot be compiled"),
        ({"echo.py": b"a\0b"}, {}, "echo.py cannot be compiled"),
        ({"echo.py": b"(" * 5000}, {}, "echo.py cannot be compiled"),
        ({"m.py": b"class"}, {"modelFile": "m.py"}, "m.py cannot be compiled"),
        ({}, {"serializedFile": "w.pt"}, "There is no file 'w.pt', which the manifest names"),
        ({}, {"modelFile": "m.py"}, "as modelFile"),
        ({}, {"requirementsFile": "r.txt"}, "as requirementsFile"),
        ({}, {"configFile": "c.yaml"}, "as configFile"),
        ({"c.yaml": b"a: ["}, {"configFile": "c.yaml"}, "is not valid YAML"),
        ({"c.yaml": b"batchSize: many"}, {"configFile": "c.yaml"}, "c.yaml: batchSize"),
    ],
)
def test_a_problem_is_named(model, extra, members, expected):
    (problem,) = find_problems(model(extra, **members))

    assert expected in problem


def test_all_problems_are_named(model):
    folder = model({"echo.py": b"def ("}, serializedFile="w.pt", configFile="c.yaml")

    assert len(find_problems(folder)) == 3


def test_a_source_that_is_too_large_is_not_compiled(model, monkeypatch):
    monkeypatch.setattr(inspection, "MAX_SOURCE_BYTES", 10)

    assert "is larger than 10 bytes" in find_problems(model())[0]


def test_nothing_is_run(model):
    folder = model({"echo.py": b"raise SystemExit('run by mistake')\n"})

    assert find_problems(folder) == []
    assert inspect_model(folder).handler_file == "echo.py"


def test_files_are_listed_with_their_sizes(model):
    found = inspect_model(model({"a/b": b"123"}))

    assert ("a/b", 3) in found.files
    assert [name for name, _ in found.files] == ["MAR-INF/MANIFEST.json", "a/b", "echo.py"]


def test_settings_are_read(model):
    found = inspect_model(model({"c.yaml": b"batchSize: 2\n"}, configFile="c.yaml"))

    assert found.config == {"batchSize": 2}


@pytest.mark.parametrize(
    ("source", "uses_torch"),
    [
        (b"import torch", True),
        (b"def f():\n    from torch.nn import Linear", True),
        (b"from ts.torch_handler.base_handler import BaseHandler", True),
        (b"import torchvision.transforms as t", True),
        (b"import json, torchlike\nfrom . import torch", False),
        (b"def (", False),
    ],
)
def test_imports_of_torch_are_found(model, source, uses_torch):
    found = inspect_model(model({"echo.py": source}))

    assert found.torch_users == (("echo.py",) if uses_torch else ())


def test_weights_are_looked_at_by_suffix_and_by_manifest(model):
    pickled = b"\x80\x02cos\nsystem\n."
    folder = model(
        {"w.pt": pickled, "named": pickled, "other.txt": pickled}, serializedFile="named"
    )

    assert [each.name for each in inspect_model(folder).weights] == ["named", "w.pt"]
    assert inspect_model(folder).weights[0].names == ("os.system",)
