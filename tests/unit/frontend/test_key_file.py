"""The key file: who can read it, when it goes, and keys that an operator has chosen."""

from __future__ import annotations

import json

import pytest

from tsl.frontend.config import ServerConfig
from tsl.frontend.key_file import KeyFile, fixed_keys, read_keys_file
from tsl.protocol.errors import ConfigError

DOCUMENT = {"inference": {"key": "k", "expiration time": "2023-11-14T22:14:20Z"}}
CHOSEN = "chosen-by-the-operator"


@pytest.fixture
def file(tmp_path):
    return KeyFile(tmp_path / "key_file.json")


def test_only_the_owner_can_read_it(file):
    file.write(DOCUMENT)

    assert file.path.stat().st_mode & 0o777 == 0o600
    assert json.loads(file.path.read_text()) == DOCUMENT


def test_writing_again_replaces_it_and_leaves_nothing_else(file, tmp_path):
    file.path.write_text("of another time")
    file.path.chmod(0o644)

    file.write(DOCUMENT)
    file.write({})

    assert json.loads(file.path.read_text()) == {}
    assert file.path.stat().st_mode & 0o777 == 0o600
    assert list(tmp_path.iterdir()) == [file.path]


def test_a_link_in_its_place_is_replaced_and_not_followed(file, tmp_path):
    target = tmp_path / "target"
    target.write_text("somebody's")
    file.path.symlink_to(target)

    file.write(DOCUMENT)

    assert target.read_text() == "somebody's"
    assert not file.path.is_symlink()


def test_a_folder_that_does_not_take_it_keeps_the_old_one(tmp_path):
    file = KeyFile(tmp_path / "gone" / "key_file.json")

    with pytest.raises(FileNotFoundError):
        file.write(DOCUMENT)


def test_what_cannot_be_put_in_place_is_not_left_lying_around(file, tmp_path):
    file.path.mkdir()

    with pytest.raises(IsADirectoryError):
        file.write(DOCUMENT)

    assert list(tmp_path.iterdir()) == [file.path]


def test_it_goes_when_the_server_stops(file):
    file.write(DOCUMENT)

    file.remove()
    file.remove()

    assert not file.path.exists()


def test_the_file_of_another_server_stays(file):
    file.write(DOCUMENT)
    KeyFile(file.path).write({"inference": {"key": "other"}})

    file.remove()

    assert file.path.exists()


def test_a_server_that_wrote_none_removes_none(file):
    file.path.write_text("somebody's")

    file.remove()

    assert file.path.exists()


# -- keys that somebody has chosen --------------------------------------------------------------------


def test_keys_come_from_a_json_file(tmp_path):
    path = tmp_path / "keys.json"
    path.write_text(json.dumps({"inference": {"key": CHOSEN}, "other": 1}))

    assert read_keys_file(path) == {"inference": CHOSEN}


def test_keys_come_from_a_folder_as_secrets_are_mounted(tmp_path):
    (tmp_path / "inference").write_text(f"{CHOSEN}\n")
    (tmp_path / "API").write_text(f"{CHOSEN}2")
    (tmp_path / "..data").mkdir()

    assert read_keys_file(tmp_path) == {"inference": CHOSEN, "API": f"{CHOSEN}2"}


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        ("", "not of the form"),
        ("[]", "holds no key"),
        ('{"inference": "text"}', "not of the form"),
        ('{"inference": {}}', "not of the form"),
        ('{"token": {"key": "x"}}', "holds no key"),
        ('{"inference": {"key": "hunter2"}}', "at least 16"),
        ('{"inference": {"key": "hunter2 hunter2 hunter2"}}', "without blanks"),
    ],
)
def test_a_file_that_is_no_use_says_why_and_not_what_it_holds(tmp_path, content, problem):
    path = tmp_path / "keys.json"
    path.write_text(content)

    with pytest.raises(ConfigError, match=problem) as caught:
        read_keys_file(path)

    assert "hunter2" not in str(caught.value)


def test_a_file_that_is_not_there_says_so(tmp_path):
    with pytest.raises(ConfigError, match="No such file"):
        read_keys_file(tmp_path / "gone")


def test_variables_beat_the_file(tmp_path):
    (tmp_path / "inference").write_text(CHOSEN)
    (tmp_path / "management").write_text(CHOSEN)
    environ = {"TSL_INFERENCE_KEY": "of-the-environment", "TSL_KEYS_FILE": str(tmp_path)}

    config = ServerConfig.load(None, environ, {})

    assert fixed_keys(config) == {"inference": "of-the-environment", "management": CHOSEN}
    assert fixed_keys(ServerConfig.load(None, {}, {})) == {}
