import json

import pytest

from tsl.model_store.manifest import MAX_MANIFEST_BYTES, Manifest
from tsl.protocol.errors import InvalidArchive


def test_all_members_are_read(manifest_text):
    text = manifest_text(
        modelName="m",
        modelVersion="2.1",
        handler="h.py:run",
        serializedFile="w.pt",
        modelFile="net.py",
        requirementsFile="requirements.txt",
        configFile="model-config.yaml",
        extensions="x",
    )

    manifest = Manifest.parse(text)

    assert manifest == Manifest(
        model_name="m",
        model_version="2.1",
        handler="h.py:run",
        runtime="python",
        serialized_file="w.pt",
        model_file="net.py",
        requirements_file="requirements.txt",
        config_file="model-config.yaml",
        extensions="x",
        raw=json.loads(text),
    )


def test_defaults_stand_in_for_missing_members():
    manifest = Manifest.parse(b'{"model": {}}')

    assert (manifest.model_name, manifest.model_version) == (None, "1.0")
    assert (manifest.handler, manifest.runtime) == (None, "python")


def test_unknown_members_are_kept_only_in_raw():
    manifest = Manifest.parse(b'{"model": {"modelName": "m", "new": [1]}, "other": {"a": 0.5}}')

    assert manifest.raw == {"model": {"modelName": "m", "new": [1]}, "other": {"a": 0.5}}


def test_a_version_written_as_a_number_keeps_its_digits():
    assert Manifest.parse(b'{"model": {"modelVersion": 1.10}}').model_version == "1.10"


def test_null_and_empty_text_count_as_missing():
    manifest = Manifest.parse(
        b'{"runtime": "", "model": {"modelName": "", "configFile": null, "modelVersion": ""}}'
    )

    assert manifest.model_name is None
    assert manifest.config_file is None
    assert manifest.model_version == "1.0"
    assert manifest.runtime == "python"


def test_a_byte_order_mark_is_no_problem():
    assert Manifest.parse(b'\xef\xbb\xbf{"model": {"modelName": "m"}}').model_name == "m"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        pytest.param(b"", "valid JSON", id="empty"),
        pytest.param(b"{", "valid JSON", id="cut"),
        pytest.param(b"\xff\xfe\xfa", "valid JSON", id="no text"),
        pytest.param(b'{"model": {}, "x": NaN}', "NaN", id="no JSON number"),
        pytest.param(b"[" * 100_000, "valid JSON", id="too deep"),
        pytest.param(b"[]", "JSON object", id="list"),
        pytest.param(b"{}", '"model"', id="no model"),
        pytest.param(b'{"model": []}', '"model"', id="model is a list"),
        pytest.param(b'{"model": {"modelName": {}}}', '"modelName"', id="name is an object"),
        pytest.param(b'{"model": {"handler": true}}', '"handler"', id="handler is true"),
        pytest.param(b'{"model": {}, "runtime": "perl"}', "perl", id="unknown runtime"),
    ],
)
def test_what_cannot_be_used_is_refused_by_name(text, words):
    with pytest.raises(InvalidArchive, match=words):
        Manifest.parse(text)


@pytest.mark.parametrize("key", ["serializedFile", "modelFile", "requirementsFile", "configFile"])
@pytest.mark.parametrize(
    "name", ["/etc/passwd", "../x", "a/../../x", "a\\..\\..\\x", "C:/x", "\\x", "a\0b"]
)
def test_files_outside_of_the_model_are_refused(manifest_text, key, name):
    with pytest.raises(InvalidArchive, match=key):
        Manifest.parse(manifest_text(**{key: name}))


def test_a_file_in_a_sub_folder_is_fine(manifest_text):
    assert Manifest.parse(manifest_text(configFile="a/b..c.yaml")).config_file == "a/b..c.yaml"


def test_a_folder_without_manifest_is_a_model(tmp_path):
    assert Manifest.read(tmp_path) == Manifest()
    assert Manifest.read(tmp_path).raw is None


def test_a_manifest_is_read_from_its_folder(tmp_path, manifest_text):
    (tmp_path / "MAR-INF").mkdir()
    (tmp_path / "MAR-INF" / "MANIFEST.json").write_bytes(manifest_text(modelName="here"))

    assert Manifest.read(tmp_path).model_name == "here"


def test_a_huge_manifest_is_refused(tmp_path):
    (tmp_path / "MAR-INF").mkdir()
    (tmp_path / "MAR-INF" / "MANIFEST.json").write_bytes(b" " * (MAX_MANIFEST_BYTES + 1))

    with pytest.raises(InvalidArchive, match="larger"):
        Manifest.read(tmp_path)


def test_a_folder_in_place_of_the_manifest_is_refused(tmp_path):
    (tmp_path / "MAR-INF" / "MANIFEST.json").mkdir(parents=True)

    with pytest.raises(InvalidArchive, match="cannot be read"):
        Manifest.read(tmp_path)
