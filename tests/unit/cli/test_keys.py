"""Reading the keys that a running server left in its folder."""

from __future__ import annotations

import json

import pytest

from tsl.cli.keys import read_keys


def test_keys_are_read_by_name(tmp_path):
    content = {
        "management": {"key": "m", "expiration time": "x"},
        "inference": {"key": "i", "expiration time": "x"},
        "API": {"key": "a"},
    }
    (tmp_path / "key_file.json").write_text(json.dumps(content))

    assert read_keys(tmp_path) == {"management": "m", "inference": "i", "API": "a"}


@pytest.mark.parametrize("content", [None, "", "[1]", '{"API": 1}', '{"API": {}}'])
def test_no_usable_file_means_no_keys(tmp_path, content):
    if content is not None:
        (tmp_path / "key_file.json").write_text(content)

    assert read_keys(tmp_path) == {}
