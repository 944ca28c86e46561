"""Routes with tokens, over a connection in memory."""

from __future__ import annotations

import json

import pytest
from fakes import RecordingStats
from http_client import HttpPlay, request

from tsl.frontend.auth import Authorizer, Permission
from tsl.frontend.http_api.guard import guarded, guarded_refusal
from tsl.frontend.http_api.router import Route, Router
from tsl.frontend.http_api.token import TokenApi


class Guarded:
    """A listener with one open route and one for each permission."""

    def __init__(self, *, save=None, **context):
        self.file = {}
        self.stats = RecordingStats()
        self.seen = []
        self.authorizer = Authorizer(
            lifetime_s=60, fixed={}, save=save or self.file.update, stats=self.stats
        )
        if save is None:
            self.authorizer.publish()
        api = TokenApi(self.authorizer)
        routes = [
            Route(path="/open", methods={"GET": self._answer}),
            *guarded(
                [Route(path="/infer/{name}", methods={"*": self._answer})],
                self.authorizer,
                Permission.INFERENCE,
            ),
            *guarded(
                [Route(path="/manage", methods={"GET": self._answer})],
                self.authorizer,
                Permission.MANAGEMENT,
            ),
            *guarded(
                [Route(path="/token", methods={"*": api.renew})],
                self.authorizer,
                Permission.RENEWAL,
            ),
        ]
        both = (Permission.INFERENCE, Permission.MANAGEMENT)
        router = Router(routes, guarded_refusal(self.authorizer, both))
        self.context = {"router": router, **context}

    def _answer(self, exchange, params):
        self.seen.append(exchange.request)
        exchange.respond_json(params)

    def ask(self, target, key="", method="GET"):
        headers = (("Authorization", f"Bearer {self.file[key]['key']}"),) if key else ()
        play = HttpPlay(context=self.context).feed(request(target, method, headers=headers))
        return play.response()


@pytest.fixture
def server():
    return Guarded()


@pytest.mark.parametrize(
    ("target", "key", "status"),
    [
        ("/open", "", 200),
        ("/infer/m", "inference", 200),
        ("/infer/m", "", 400),
        ("/infer/m", "management", 400),
        ("/manage", "management", 200),
        ("/manage", "inference", 400),
        ("/manage", "API", 400),
        ("/token?type=inference", "API", 200),
        ("/token?type=inference", "management", 400),
        ("/token", "API", 400),
        ("/none", "", 400),
        ("/none", "inference", 404),
        ("/none", "management", 404),
    ],
)
def test_each_route_has_its_key(server, target, key, status):
    response = server.ask(target, key)

    assert response.status == status
    if status == 400:
        assert json.loads(response.body)["type"] == "InvalidKeyException"
        assert not server.seen


def test_a_method_that_is_not_there_is_told_to_those_with_a_key(server):
    assert server.ask("/manage", "", method="POST").status == 400

    response = server.ask("/manage", "management", method="POST")

    assert response.status == 405
    assert response.header("allow") == "GET, HEAD"


@pytest.mark.parametrize(
    ("target", "key", "status", "header"),
    [
        ("/infer/m", "", 401, "Bearer"),
        ("/infer/m", "management", 403, None),
        ("/token?type=root", "API", 400, None),
    ],
)
def test_standard_statuses(target, key, status, header):
    response = Guarded(standard_status_codes=True).ask(target, key)

    assert response.status == status
    assert response.header("www-authenticate") == header


def test_the_key_of_a_repeated_head_counts_each_time(server):
    header = ("Authorization", f"Bearer {server.file['inference']['key']}")
    ask = request("/infer/m", "POST", headers=(header,), body=b"x")
    play = HttpPlay(context=server.context).feed(ask, ask)
    server.authorizer.renew("inference")

    play.feed(ask)

    assert [response.status for response in play.responses()] == [200, 200, 400]


def test_a_renewed_key_is_in_the_answer(server):
    old = server.file["inference"]["key"]

    answer = json.loads(server.ask("/token?type=inference", "API").body)

    assert answer == server.file["inference"]
    assert answer["key"] != old
    assert server.ask("/infer/m", "inference").status == 200


def test_a_key_that_cannot_be_stored_is_answered_without_the_reason():
    server = Guarded()

    def full(_):
        raise OSError(28, "No space left on device", "/secret/path")

    server.authorizer._save = full

    response = server.ask("/token?type=inference", "API")

    assert response.status == 503
    assert b"/secret" not in response.body
    assert server.ask("/infer/m", "inference").status == 200
