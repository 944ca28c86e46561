"""Functions that handlers import from ``ts.utils.util``."""

from __future__ import annotations

import types
import warnings
from collections import OrderedDict

import pytest

from tsl.backend.util import (
    CLEANUP_REGEX,
    PredictionException,
    PT2Backend,
    check_valid_pt2_backend,
    deprecated,
    get_yaml_config,
    import_class,
    list_classes_from_module,
    load_label_mapping,
    map_class_to_label,
)


def test_prediction_exception_shows_message_and_code():
    error = PredictionException("no such page", 404)

    assert (error.message, error.error_code) == ("no such page", 404)
    assert str(error) == "no such page : 404"
    assert PredictionException("x").error_code == 500


def _module_with_classes():
    module = types.ModuleType("model_file")
    exec("class B: pass\nclass A(B): pass", module.__dict__)
    module.Imported = OrderedDict
    return module


def test_only_own_classes_are_listed_in_order_of_names():
    names = [cls.__name__ for cls in list_classes_from_module(_module_with_classes())]

    assert names == ["A", "B"]


def test_classes_can_be_restricted_to_a_parent():
    module = _module_with_classes()

    assert list_classes_from_module(module, module.A) == [module.A]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        pytest.param('{"0": "cat", "1": "dog"}', {"0": "cat", "1": "dog"}, id="text"),
        pytest.param('{"0": ["n01", "cat"]}', {"0": "cat"}, id="last-of-list"),
        pytest.param('{"object_type_names": ["a", "b"]}', {"0": "a", "1": "b"}, id="old-form"),
    ],
)
def test_label_mapping_forms(tmp_path, text, expected):
    path = tmp_path / "index_to_name.json"
    path.write_text(text)

    assert load_label_mapping(path) == expected


def test_missing_label_mapping_is_none_with_a_warning(tmp_path, caplog):
    assert load_label_mapping(tmp_path / "index_to_name.json") is None
    assert "index_to_name.json" in caplog.text


@pytest.mark.parametrize("text", ["[1]", '{"0": 1}', '{"0": []}', "{", '{"0": null}'])
def test_broken_label_mapping_is_refused(tmp_path, text):
    path = tmp_path / "index_to_name.json"
    path.write_text(text)

    with pytest.raises(ValueError, match=r"index_to_name\.json"):
        load_label_mapping(path)


def test_probabilities_are_labelled_in_the_order_given():
    answer = map_class_to_label([[0.7, 0.2]], {"4": "cat", "1": "dog"}, [[4, 1]])

    assert answer == [{"cat": 0.7, "dog": 0.2}]
    assert list(answer[0]) == ["cat", "dog"]


def test_without_mapping_the_class_number_is_the_label():
    assert map_class_to_label([[0.7, 0.3]]) == [{"0": 0.7, "1": 0.3}]


@pytest.mark.parametrize("row", [[0.7, 0.2], [0.2, 0.7]])
def test_of_equal_labels_the_higher_probability_stands(row):
    assert map_class_to_label([row], {"0": "cat", "1": "cat"}) == [{"cat": 0.7}]


def test_unmapped_class_is_an_error():
    with pytest.raises(KeyError):
        map_class_to_label([[1.0]], {"1": "cat"})


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("<b>bold</b> text", "bold text"),
        ("a &amp; b", "a  b"),
        ("&#39;x&#x27;", "x"),
        ("a < b", "a < b"),
        ("AT&T; ok", "AT ok"),
    ],
)
def test_cleanup_removes_tags_and_entities(text, expected):
    assert CLEANUP_REGEX.sub("", text) == expected


def test_yaml_config_is_read_safely(tmp_path):
    path = tmp_path / "c.yaml"
    path.write_text("handler: {profile: true}")

    assert get_yaml_config(path) == {"handler": {"profile": True}}


def test_deprecated_function_warns_and_runs():
    @deprecated("1.0", replacement="new")
    def old(value):
        return value + 1

    with pytest.warns(PendingDeprecationWarning, match="use new"):
        assert old(1) == 2


def test_decorating_alone_does_not_warn():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert deprecated("1.0")(len).__name__ == "len"


def test_known_and_unknown_compile_back_ends(caplog):
    assert check_valid_pt2_backend("inductor")
    assert not check_valid_pt2_backend("nonsense")
    assert "nonsense" in caplog.text
    assert PT2Backend.TORCH_TENSORRT == "tensorrt"


def test_class_is_imported_by_dotted_or_prefixed_name():
    assert import_class("collections.OrderedDict") is OrderedDict
    assert import_class("OrderedDict", "collections") is OrderedDict


@pytest.mark.parametrize(
    "name", ["collections.NoSuchClass", "no_such_module.X", "Bare", "collections.abc"]
)
def test_class_that_does_not_exist_is_an_import_error(name):
    with pytest.raises(ImportError):
        import_class(name)
