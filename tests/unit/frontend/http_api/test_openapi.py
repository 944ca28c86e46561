from __future__ import annotations

import json

import pytest
from http_client import HttpPlay, request
from openapi_spec_validator import validate

from tsl.frontend.http_api.metrics import MetricsApi
from tsl.frontend.http_api.openapi import ApiDescriptions, document
from tsl.frontend.http_api.router import Operation, Route, Router
from tsl.frontend.http_api.routes import (
    common_routes,
    inference_routes,
    management_routes,
    metrics_routes,
    workflow_inference_routes,
    workflow_management_routes,
)
from tsl.protocol.errors import ModelNotFound


class Anything:
    """An API all of whose endpoints answer; a registry that has some names."""

    def __getattr__(self, name):
        if name.startswith("__"):
            raise AttributeError(name)

        def endpoint(exchange, params):
            exchange.respond_json({"endpoint": name, **params})

        endpoint.__name__ = name
        return endpoint


class Registry:
    """Knows every model but ``none``."""

    def get(self, name, version=""):
        del version
        if name == "none":
            raise ModelNotFound(f"Model not found: {name}")


def listener(*names):
    """Routes served and described by a listener, put together as `assembly` does it."""
    descriptions = ApiDescriptions("title", Registry())
    health = Anything() if "inference" in names else None
    routes = common_routes(descriptions, health)
    if "inference" in names:
        routes += inference_routes(Anything(), Anything(), Anything(), descriptions)
        routes += workflow_inference_routes(Anything(), descriptions)
    if "management" in names:
        routes += management_routes(Anything(), Anything(), descriptions)
        routes += workflow_management_routes(Anything())
    if "metrics" in names:
        routes += metrics_routes(MetricsApi(Anything()))
    descriptions.describe(routes)
    return routes


LISTENERS = {
    "inference": listener("inference"),
    "management": listener("management"),
    "metrics": listener("metrics"),
    "shared": listener("inference", "management", "metrics"),
}


def described(name, method="OPTIONS", target="/"):
    play = HttpPlay(context={"router": Router(LISTENERS[name])}).feed(request(target, method))
    return json.loads(play.response().body)


def documented():
    for name, routes in LISTENERS.items():
        for path, item in document("title", "1", routes)["paths"].items():
            for method in item:
                yield pytest.param(name, method, path, id=f"{name} {method} {path}")


@pytest.mark.parametrize("name", LISTENERS)
@pytest.mark.parametrize(
    ("method", "target"), [("OPTIONS", "/"), ("OPTIONS", "*"), ("GET", "/api-description")]
)
def test_each_listener_describes_itself_in_openapi(name, method, target):
    found = described(name, method, target)

    validate(found)
    assert found["openapi"] == "3.0.1"


@pytest.mark.parametrize(("name", "method", "path"), list(documented()))
def test_what_is_documented_is_served_by_the_route_that_documents_it(name, method, path):
    router = Router(LISTENERS[name])
    target = path.replace("{model_name}", "m").replace("{model_version}", "1.0")
    target = target.replace("{workflow_name}", "w")
    route = next(r for r in LISTENERS[name] if r.path == path and method in r.operations)

    found = router.match(method.upper().encode(), target.encode())

    assert found.endpoint in (route.methods.get(method.upper()), route.methods.get("*"))


@pytest.mark.parametrize("name", LISTENERS)
def test_what_is_served_and_no_alias_is_documented(name):
    undocumented = {r.path for r in LISTENERS[name] if not r.operations}

    assert undocumented <= {
        "/ping/{rest...}",
        "/predictions/{model_name}/{model_version}/{rest...}",
        "/explanations/{model_name}/{model_version}/{rest...}",
        "/{model_name}/predict",
        "/{model_name}/{model_version}/predict",
        "/v2",
        "/v2/health/live",
        "/v2/health/ready",
        "/metrics/{rest...}",
        "/wfpredict/{workflow_name}/{workflow_version}",
    }


@pytest.mark.parametrize("name", LISTENERS)
def test_operation_ids_are_unique(name):
    found = described(name)
    ids = [o["operationId"] for item in found["paths"].values() for o in item.values()]

    assert len(set(ids)) == len(ids)


@pytest.mark.parametrize(
    ("target", "name"),
    [
        ("/predictions/m", "m"),
        ("/predictions/m/1.0", "m"),
        ("/explanations/m", "m"),
        ("/v1/models/m:predict", "m"),
        ("/v2/models/m/infer", "m"),
        ("/predictions/%7Bm%7D", "%7Bm%7D"),
        ("/predictions/%7Bmodel_version%7D", "%7Bmodel_version%7D"),
        ("/predictions/a%2520b", "a%2520b"),
        ("/predictions/a%3Fb%23c", "a%3Fb%23c"),
        ("/predictions/%C3%A4%20%22", "%C3%A4%20%22"),
        ("/predictions/a.b-c_d~e", "a.b-c_d~e"),
    ],
)
def test_the_description_of_a_model_can_be_followed(target, name):
    """Each path of it leads back to this very model, whatever its name is."""
    router = Router(LISTENERS["inference"])

    found = described("inference", target=target)

    validate(found)
    assert f"/predictions/{name}" in found["paths"]
    wanted = router.match(b"OPTIONS", target.encode()).params["model_name"]
    for path in found["paths"]:
        concrete = path.replace("{model_version}", "1.0").encode()
        assert router.match(b"POST", concrete).params["model_name"] == wanted


def test_a_name_with_a_colon_has_no_kserve_v1_path():
    """In those paths a colon ends the name."""
    found = described("inference", target="/predictions/a:b")

    assert not [path for path in found["paths"] if path.startswith("/v1/")]
    assert "/predictions/a:b" in found["paths"]


@pytest.mark.parametrize("name", ["inference", "management"])
def test_an_unknown_model_is_not_described(name):
    target = "/predictions/none" if name == "inference" else "/models/none"

    assert described(name, target=target)["code"] == 404


def test_the_description_of_a_model_on_the_management_listener_is_valid():
    found = described("management", target="/models/m")

    validate(found)
    assert "/models/{model_name}/{model_version}/set-default" in found["paths"]


def test_a_path_that_occurs_twice_is_described_once():
    def route(identifier):
        return Route(
            path="/a",
            methods={},
            operations={"get": Operation(id=identifier, summary="", responses={"200": "ok"})},
        )

    found = document("title", "1", [route("first"), route("second")])

    assert found["paths"]["/a"]["get"]["operationId"] == "first"
