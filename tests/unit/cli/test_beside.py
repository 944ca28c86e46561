from types import SimpleNamespace

import pytest

from tsl.cli.beside import beside_warning


def finder(**versions):
    """Finds these distributions; `-` is `_` in their names."""

    def find(name):
        version = versions.get(name.replace("-", "_"))
        return [SimpleNamespace(version=version)] if version else []

    return find


def test_there_is_nothing_to_say_about_tsl_alone():
    assert beside_warning(finder()) == ""


@pytest.mark.parametrize(
    ("versions", "beginning", "end"),
    [
        (
            {"torchserve": "0.12.0"},
            "torchserve 0.12.0 is installed beside tsl, with packages of the same names (ts).",
            "pip uninstall torchserve; pip install --force-reinstall --no-deps tsl",
        ),
        (
            {"torchserve": "0.12.0", "torch_model_archiver": "0.11.1"},
            "torchserve 0.12.0 and torch-model-archiver 0.11.1 are installed beside tsl, with "
            "packages of the same names (ts, model_archiver).",
            "pip uninstall torchserve torch-model-archiver; "
            "pip install --force-reinstall --no-deps tsl",
        ),
    ],
    ids=["server", "server and archiver"],
)
def test_torchserve_s_packages_are_named_in_one_line(versions, beginning, end):
    text = beside_warning(finder(**versions))

    assert text.startswith(beginning)
    assert text.endswith(end)
    assert "\n" not in text
