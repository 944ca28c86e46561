import datetime

import pytest

from tsl.model_store.model_yaml import MAX_YAML_BYTES, load_model_yaml
from tsl.protocol.errors import InvalidArchive


def test_a_mapping_is_read():
    assert load_model_yaml(b"a: 1\nb: {c: [x, 0.5, yes]}\n") == {
        "a": 1,
        "b": {"c": ["x", 0.5, True]},
    }


@pytest.mark.parametrize("text", [b"", b"\n", b"# only a comment\n", b"null"])
def test_a_file_without_content_is_none(text):
    assert load_model_yaml(text) is None


def test_plain_types_beyond_json_are_kept():
    assert load_model_yaml(b"d: 2024-01-31") == {"d": datetime.date(2024, 1, 31)}


def test_aliases_are_fine_in_reason():
    assert load_model_yaml(b"a: &x {k: 1}\nb: *x\nc: {<<: *x, l: 2}") == {
        "a": {"k": 1},
        "b": {"k": 1},
        "c": {"k": 1, "l": 2},
    }


def bomb(line):
    lines = ["a0: &a0 {k: 1, l: 2}"]
    lines += [line.format(n=n, many=", ".join([f"*a{n - 1}"] * 10)) for n in range(1, 12)]
    return "\n".join(lines).encode()


@pytest.mark.parametrize(
    ("text", "words"),
    [
        pytest.param(b"a: [1, 2\nb: }", "not valid YAML", id="syntax"),
        pytest.param(b"\xff\xff\xff", "not valid YAML", id="no text"),
        pytest.param(b"a: !!python/object/apply:os.getcwd []", "not valid YAML", id="code"),
        pytest.param(b"a: 2024-99-99", "not valid YAML", id="no date"),
        pytest.param(b"[a]: {b}\n? [c]\n: d", "not valid YAML", id="list as key"),
        pytest.param(b"a: 1\n---\nb: 2", "not valid YAML", id="two documents"),
        pytest.param(b"[1, 2]", "mapping", id="list"),
        pytest.param(b"text", "mapping", id="text"),
        pytest.param(b"a: *b", "stands for nothing", id="unknown alias"),
        pytest.param(b"a: &a [*a]", "contains itself", id="alias of itself"),
        pytest.param(bomb("a{n}: &a{n} [{many}]"), "too many values", id="aliases of aliases"),
        pytest.param(bomb("a{n}: &a{n} {{<<: [{many}]}}"), "too many values", id="merge keys"),
        pytest.param(b"a: " + b"[" * 200 + b"]" * 200, "too deeply", id="deep"),
        pytest.param(b"a: " + b"x" * MAX_YAML_BYTES, "larger", id="large"),
    ],
)
def test_what_cannot_be_used_is_refused(text, words):
    with pytest.raises(InvalidArchive, match=words):
        load_model_yaml(text)
