"""As many connections as the system allows."""

from __future__ import annotations

import pytest

from tsl.frontend import file_limit as module
from tsl.frontend.file_limit import raise_file_limit


@pytest.mark.parametrize(("limits", "expected"), [((100, 500), [(500, 500)]), ((500, 500), [])])
def test_the_limit_of_open_files_is_raised_to_what_is_allowed(monkeypatch, limits, expected):
    raised = []
    monkeypatch.setattr(module.resource, "getrlimit", lambda what: limits)
    monkeypatch.setattr(module.resource, "setrlimit", lambda what, to: raised.append(to))

    raise_file_limit()

    assert raised == expected


def test_a_limit_that_cannot_be_raised_is_left(monkeypatch):
    def refuse(what, to):
        raise ValueError("not allowed to raise maximum limit")

    monkeypatch.setattr(module.resource, "getrlimit", lambda what: (1, 2))
    monkeypatch.setattr(module.resource, "setrlimit", refuse)

    raise_file_limit()
