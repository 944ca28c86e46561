from __future__ import annotations

import json
from types import SimpleNamespace

import pytest
from http_client import HttpPlay, request

from tsl.frontend.http_api.health import HealthApi
from tsl.frontend.http_api.router import Route, Router
from tsl.protocol.errors import ModelNotFound


class Registry:
    """Models by name: ready workers, wanted workers, healthy."""

    def __init__(self, **models):
        self._models = {
            name: SimpleNamespace(
                version=SimpleNamespace(name=name, is_function=name.startswith("function")),
                pool=SimpleNamespace(ready_count=ready, min_workers=wanted, is_healthy=healthy),
            )
            for name, (ready, wanted, healthy) in models.items()
        }

    def defaults(self):
        return list(self._models.values())

    def get(self, name, version=""):
        del version
        if name not in self._models:
            raise ModelNotFound(f"Model not found: {name}")
        return self._models[name]


READY = (2, 2, True)
LOADING = (1, 2, True)
BROKEN = (0, 1, False)
IDLE = (0, 0, True)


def ask(target, **models):
    api = HealthApi(Registry(**models))
    router = Router(
        [
            Route(path="/ping", methods={"*": api.ping}),
            Route(path="/", methods={"GET": api.alive}),
            Route(path="/v1/models", methods={"GET": api.v1_models}),
            Route(path="/v1/models/{model_name}", methods={"GET": api.v1_model}),
            Route(path="/ready/{model_name}", methods={"GET": api.v1_ready}),
            Route(path="/v2/health/live", methods={"*": api.v2_live}),
            Route(path="/v2/health/ready", methods={"*": api.v2_ready}),
        ]
    )
    response = HttpPlay(context={"router": router}).feed(request(target)).response()
    return response.status, json.loads(response.body)


@pytest.mark.parametrize(
    ("models", "status", "word"),
    [
        ({}, 200, "Healthy"),
        ({"a": READY, "b": IDLE}, 200, "Healthy"),
        ({"a": LOADING}, 200, "Healthy"),
        ({"a": READY, "b": BROKEN}, 500, "Unhealthy"),
    ],
    ids=["no models", "all ready", "loading", "one broken"],
)
def test_ping_tells_of_health(models, status, word):
    assert ask("/ping", **models) == (status, {"status": word})


@pytest.mark.parametrize(
    "query", ["ready=true", "ready=TRUE", "ready=false&ready=true", "r%65ady=true"]
)
def test_ping_tells_of_readiness_when_asked(query):
    assert ask(f"/ping?{query}", a=READY, b=IDLE) == (200, {"status": "Ready"})
    assert ask(f"/ping?{query}", a=LOADING, b=READY) == (
        503,
        {
            "status": "Not ready",
            "models": [{"modelName": "a", "readyWorkers": 1, "minWorkers": 2}],
        },
    )


@pytest.mark.parametrize("query", ["", "ready", "ready=", "ready=false", "ready=1", "%zz", "&&=&"])
def test_any_other_query_is_ignored(query):
    assert ask(f"/ping?{query}", a=LOADING) == (200, {"status": "Healthy"})


@pytest.mark.parametrize(
    ("target", "expected"),
    [
        ("/", (200, {"status": "alive"})),
        ("/v1/models/a", (200, {"name": "a", "ready": True})),
        ("/v1/models/b", (200, {"name": "b", "ready": False})),
        ("/ready/a", (200, {"name": "a", "ready": True})),
        ("/ready/b", (503, {"name": "b", "ready": False})),
        ("/v2/health/live", (200, {"live": True})),
        ("/v2/health/ready", (503, {"ready": False})),
    ],
)
def test_the_other_routes(target, expected):
    assert ask(target, a=READY, b=(0, 1, True)) == expected


def test_ready_is_all_models_ready():
    assert ask("/v2/health/ready", a=READY) == (200, {"ready": True})


def test_an_unknown_model_is_not_found():
    status, document = ask("/v1/models/none")

    assert (status, document["type"]) == (404, "ModelNotFoundException")


def test_kserve_lists_the_names_of_models():
    assert ask("/v1/models", a=READY, b=IDLE, function=READY) == (200, {"models": ["a", "b"]})
