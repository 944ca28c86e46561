"""Finding the keys of a running server, and renewing those that have expired."""

from __future__ import annotations

import dataclasses
import json

import pytest

from tsl.cli import keys
from tsl.cli.api_client import NoAnswer
from tsl.cli.keys import CannotRenew, read_keys, renew, usable_key

SOON = "2999-01-01T00:00:00.123456Z"
LONG_AGO = "2001-01-01T00:00:00Z"
CHOSEN = "chosen-by-a-person"


class FakeApi:
    """Gives one answer and notes what it was asked."""

    def __init__(self, answer):
        self.answer = answer
        self.asked = []

    def get(self, path):
        self.asked.append(path)
        if isinstance(self.answer, Exception):
            raise self.answer
        return self.answer


def write_key_file(folder, expires=SOON):
    content = {
        "management": {"key": "m", "expiration time": expires},
        "inference": {"key": "i", "expiration time": expires},
        "API": {"key": "a"},
    }
    (folder / "key_file.json").write_text(json.dumps(content))


def texts(found):
    return {name: key.text for name, key in found.items()}


def test_keys_are_read_by_name(tmp_path, record):
    write_key_file(tmp_path)

    assert texts(read_keys(record, {})) == {"management": "m", "inference": "i", "API": "a"}


@pytest.mark.parametrize(
    "content",
    [None, "", "[1]", '{"API": 1}', '{"API": {}}', '{"API": {"key": "a", "expiration time": "x"}}'],
)
def test_no_usable_file_means_no_keys(tmp_path, record, content):
    if content is not None:
        (tmp_path / "key_file.json").write_text(content)

    assert read_keys(record, {}) == {}


def test_a_server_without_tokens_has_no_keys_whatever_file_is_there(tmp_path, record):
    write_key_file(tmp_path)

    assert read_keys(dataclasses.replace(record, needs_token=False), {}) == {}


def test_fixed_keys_are_where_the_operator_put_them(tmp_path, record):
    write_key_file(tmp_path)
    file = tmp_path / "keys.json"
    file.write_text(json.dumps({"inference": {"key": CHOSEN}, "management": {"key": CHOSEN}}))

    found = read_keys(
        dataclasses.replace(record, keys_file=str(file)), {"TSL_MANAGEMENT_KEY": "of-the-shell"}
    )

    assert texts(found) == {"management": "of-the-shell", "inference": CHOSEN, "API": "a"}


def test_a_keys_file_that_we_cannot_read_is_not_there(tmp_path, record):
    gone = dataclasses.replace(record, keys_file=str(tmp_path / "gone.json"))

    assert read_keys(gone, {}) == {}


def test_a_key_that_is_good_is_used_as_it_is(tmp_path, record):
    write_key_file(tmp_path)

    assert usable_key(record, read_keys(record, {}), "inference") == "i"
    assert usable_key(record, {}, "inference") is None


def test_a_key_that_has_expired_is_renewed_first(tmp_path, record, monkeypatch):
    write_key_file(tmp_path, LONG_AGO)
    api = FakeApi((200, {"key": "new"}))
    clients = []

    def client(address, key):
        clients.append((address, key))
        return api

    monkeypatch.setattr(keys, "ApiClient", client)

    found = read_keys(record, {})

    assert usable_key(record, found, "inference") == "new"
    assert api.asked == ["/token?type=inference"]
    assert clients == [(record.management, "a")]
    assert usable_key(record, found, "API") == "a"


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        pytest.param((409, {"message": "It is fixed."}), "It is fixed.", id="refused"),
        pytest.param(NoAnswer("nobody is there"), "nobody is there", id="no answer"),
    ],
)
def test_a_key_that_cannot_be_renewed_says_why(answer, reason):
    with pytest.raises(CannotRenew, match=reason):
        renew(FakeApi(answer), "inference")
