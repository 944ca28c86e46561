"""Preflights: answered where the request could go, and never by running it."""

from __future__ import annotations

import pytest
from http_client import HttpPlay, request

from tsl.frontend.http_api.cors import with_preflights
from tsl.frontend.http_api.router import Route, Router
from tsl.protocol.errors import Unauthorized

PREFLIGHT = (("Origin", "https://a.example"), ("access-control-REQUEST-method", "POST"))
CORS = (("access-control-allow-origin", "https://a.example"),)


class Site:
    """A listener with routes of all kinds; notes what is run."""

    def __init__(self, *, keep_descriptions=True):
        self.ran = []
        routes = [
            Route(path="/any", methods={"*": self._run("any")}),
            Route(path="/get", methods={"GET": self._run("get")}),
            Route(
                path="/described",
                methods={"OPTIONS": self._run("description"), "*": self._run("described")},
            ),
            Route(path="/locked", methods={"OPTIONS": self._refuse, "*": self._refuse}),
        ]
        router = Router(with_preflights(routes, keep_descriptions=keep_descriptions))
        self._context = {"router": router, "cors": CORS}

    def _run(self, name):
        def endpoint(exchange, params):
            del params
            self.ran.append(name)
            exchange.respond_json(name)

        return endpoint

    def _refuse(self, exchange, params):
        raise Unauthorized

    def ask(self, target, headers=PREFLIGHT, method="OPTIONS"):
        play = HttpPlay(context=self._context)
        return play.feed(request(target, method, headers=headers)).response()


@pytest.mark.parametrize("target", ["/any", "/get"])
def test_a_preflight_runs_nothing(target):
    site = Site()

    response = site.ask(target)

    assert (response.status, response.body) == (200, b"")
    assert response.header("access-control-allow-origin") == "https://a.example"
    assert not site.ran


def test_a_route_with_a_description_answers_with_it():
    site = Site()

    assert site.ask("/described").status == 200
    assert site.ran == ["description"]


@pytest.mark.parametrize("target", ["/described", "/locked", "/any", "/get"])
def test_with_tokens_a_preflight_needs_none_and_tells_nothing(target):
    site = Site(keep_descriptions=False)

    response = site.ask(target)

    assert (response.status, response.body) == (200, b"")
    assert not site.ran


@pytest.mark.parametrize(
    ("target", "headers", "status", "ran"),
    [
        ("/any", (), 200, ["any"]),
        ("/any", PREFLIGHT[:1], 200, ["any"]),
        ("/any", PREFLIGHT[1:], 200, ["any"]),
        ("/get", PREFLIGHT[:1], 405, []),
        ("/described", (), 200, ["description"]),
        ("/locked", (), 400, []),
    ],
)
def test_other_options_requests_are_what_they_were(target, headers, status, ran):
    site = Site(keep_descriptions=False)

    assert site.ask(target, headers).status == status
    assert site.ran == ran


def test_a_path_that_is_not_there_has_no_preflight():
    assert Site().ask("/none").status == 404


def test_other_methods_are_not_concerned():
    site = Site()

    assert site.ask("/get", method="GET").status == 200
    assert site.ran == ["get"]
