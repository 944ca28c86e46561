"""The words beside a status."""

import re

import pytest

from tsl.frontend.http_api.reason_phrases import reason_phrase


@pytest.mark.parametrize(
    ("status", "phrase"),
    [
        (200, "OK"),
        (404, "Not Found"),
        (418, "I'm a Teapot"),
        (425, "Too Early"),
        (499, "Client Closed Request"),
        (507, "Insufficient Storage"),
        (150, "Informational (150)"),
        (299, "Success (299)"),
        (399, "Redirection (399)"),
        (498, "Client Error (498)"),
        (599, "Server Error (599)"),
        (99, "Unknown Status (99)"),
        (600, "Unknown Status (600)"),
        (-5, "Unknown Status (-5)"),
    ],
)
def test_reason_phrase(status, phrase):
    assert reason_phrase(status) == phrase


@pytest.mark.parametrize("status", range(100, 600))
def test_every_status_has_a_phrase_that_fits_a_status_line(status):
    assert re.fullmatch(r"[ -~]+", reason_phrase(status))
