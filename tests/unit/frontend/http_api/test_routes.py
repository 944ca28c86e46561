from __future__ import annotations

import pytest
from http_client import HttpPlay, request

from tsl.frontend.http_api.openapi import ApiDescriptions
from tsl.frontend.http_api.router import Router
from tsl.frontend.http_api.routes import (
    common_routes,
    inference_routes,
    management_routes,
    metrics_routes,
    open_inference_routes,
    platform_routes,
    shared_memory_routes,
    v1_routes,
    workflow_inference_routes,
    workflow_management_routes,
)
from tsl.protocol.errors import MethodNotAllowed, ResourceNotFound


class Api:
    """An API all of whose endpoints are functions with their names."""

    def __init__(self, name):
        self._name = name

    def __getattr__(self, name):
        def endpoint(exchange, params):
            del exchange, params

        endpoint.__name__ = f"{self._name}.{name}"
        return endpoint


DESCRIPTIONS = ApiDescriptions("title", Api("registry"))
COMMON = common_routes(DESCRIPTIONS, Api("health"))
INFERENCE = inference_routes(Api("inference"), Api("tensors"), Api("health"), DESCRIPTIONS)
INFERENCE += open_inference_routes(Api("tensors"), Api("generate"), Api("health"), DESCRIPTIONS)
MANAGEMENT = management_routes(Api("management"), Api("health"), DESCRIPTIONS)
INFERENCE += shared_memory_routes(Api("regions"))
INFERENCE += workflow_inference_routes(Api("workflows"), DESCRIPTIONS)
MANAGEMENT += workflow_management_routes(Api("workflows"))
METRICS = metrics_routes(Api("metrics"))
V1 = v1_routes(Api("health"), Api("health").v1_model)

ROUTERS = {
    "inference": Router(COMMON + INFERENCE),
    "management": Router(common_routes(DESCRIPTIONS, None) + MANAGEMENT),
    "shared": Router(COMMON + V1 + INFERENCE + MANAGEMENT + METRICS),
}


def found(listener, method, target):
    try:
        match = ROUTERS[listener].match(method.encode(), target.encode())
    except MethodNotAllowed:
        return 405, {}
    except ResourceNotFound:
        return 404, {}
    return match.endpoint.__name__, match.params


M, V = {"model_name": "m"}, {"model_name": "m", "model_version": "2"}
W = {"workflow_name": "w"}


@pytest.mark.parametrize(
    ("method", "target", "endpoint", "params"),
    [
        ("GET", "/", "health.alive", {}),
        ("HEAD", "/", "health.alive", {}),
        ("POST", "/", 405, {}),
        ("OPTIONS", "/", "api", {}),
        ("POST", "/api-description", "api", {}),
        ("GET", "/ping", "health.ping", {}),
        ("OPTIONS", "/ping", "health.ping", {}),
        ("GET", "/ping/x/y", "health.ping", {"rest": "x/y"}),
        ("GET", "/predictions", 404, {}),
        ("GET", "/predictions/", 404, {}),
        ("GET", "/predictions/m", "inference.predict", M),
        ("PATCH", "/predictions/m/", "inference.predict", M),
        ("HEAD", "/predictions/m/2", "inference.predict", V),
        ("PUT", "/predictions/m/2/a/b", "inference.predict", {**V, "rest": "a/b"}),
        ("OPTIONS", "/predictions/m", "inference_model", M),
        ("OPTIONS", "/predictions/m/2/a", "inference_model", {**V, "rest": "a"}),
        ("POST", "/explanations/m", "inference.explain", M),
        ("POST", "/explanations/m/2", "inference.explain", V),
        ("POST", "/v1/models/m:predict", "inference.v1_predict", M),
        ("POST", "/v1/models/m:explain", "inference.v1_explain", M),
        ("GET", "/v1/models", "health.v1_models", {}),
        ("POST", "/v1/models", 405, {}),
        ("GET", "/v1/models/m", "health.v1_ready", M),
        ("HEAD", "/v1/models/m", "health.v1_ready", M),
        ("POST", "/v1/models/m", 405, {}),
        ("POST", "/v1/models/m:verb", 404, {}),
        ("POST", "/v1/models/m/2:predict", 404, {}),
        ("POST", "/v2/models/m/infer", "tensors.infer", M),
        ("POST", "/v2/models/m/explain", "tensors.explain", M),
        ("GET", "/v2/models/m", "tensors.model", M),
        ("GET", "/v2/models/m/ready", "tensors.ready", M),
        ("GET", "/v2/models/m/versions/2/config", "tensors.config", V),
        ("GET", "/v2/models/stats", "tensors.statistics", {}),
        ("GET", "/v2/models/m/stats", "tensors.statistics", M),
        ("POST", "/v2/models/m/versions/2/infer", "tensors.infer", V),
        ("POST", "/v2/repository/index", 404, {}),
        ("GET", "/v2/systemsharedmemory/status", "regions.status", {}),
        ("GET", "/v2/systemsharedmemory/region/r/status", "regions.status", {"region": "r"}),
        ("POST", "/v2/systemsharedmemory/region/r/register", "regions.register", {"region": "r"}),
        ("POST", "/v2/systemsharedmemory/unregister", "regions.unregister", {}),
        ("GET", "/v2/systemsharedmemory/unregister", 405, {}),
        ("POST", "/v2/cudasharedmemory/region/r/register", "regions.cuda_register", {"region": "r"}),
        ("GET", "/v2", "tensors.server", {}),
        ("GET", "/v2/health/live", "health.v2_live", {}),
        ("GET", "/v2/health/ready", "health.v2_ready", {}),
        ("POST", "/invocations?model_name=m", "inference.invocations", {}),
        ("POST", "/models/m/invoke", "inference.invoke", M),
        ("POST", "/m/predict", "inference.invoke", M),
        ("POST", "/m/2/predict", "inference.invoke", V),
        ("POST", "/wfpredict/w", "workflows.predict", W),
        ("GET", "/WFPredict/Ab", "workflows.predict", {"workflow_name": "Ab"}),
        ("POST", "/wfpredict/w/1.0", "workflows.predict", {**W, "workflow_version": "1.0"}),
        ("OPTIONS", "/wfpredict/w", "options", W),
        ("POST", "/wfpredict", 404, {}),
        ("POST", "/wfpredict/w/1.0/x", 404, {}),
        ("GET", "/workflows", 404, {}),
        ("POST", "/PREDICTIONS/m", 404, {}),
        ("GET", "/models", 404, {}),
        ("GET", "/metrics", 404, {}),
    ],
)  # fmt: skip
def test_the_inference_listener(method, target, endpoint, params):
    assert found("inference", method, target) == (endpoint, params)


@pytest.mark.parametrize(
    ("method", "target", "endpoint", "params"),
    [
        ("GET", "/", 405, {}),
        ("OPTIONS", "/", "api", {}),
        ("GET", "/models", "management.list_models", {}),
        ("HEAD", "/models", "management.list_models", {}),
        ("POST", "/models?url=x", "management.register", {}),
        ("DELETE", "/models", 405, {}),
        ("GET", "/models/m", "management.describe", M),
        ("PUT", "/models/m", "management.scale", M),
        ("DELETE", "/models/m", "management.unregister", M),
        ("POST", "/models/m", 405, {}),
        ("OPTIONS", "/models/m", "management_model", M),
        ("GET", "/models/m/2", "management.describe", V),
        ("GET", "/models/m/all", "management.describe", {**V, "model_version": "all"}),
        ("PUT", "/models/m/2", "management.scale", V),
        ("DELETE", "/models/m/2", "management.unregister", V),
        ("PUT", "/models/m/2/set-default", "management.set_default", V),
        ("GET", "/models/m/2/set-default", "management.describe_default", V),
        ("DELETE", "/models/m/2/set-default", 405, {}),
        ("GET", "/models/m/2/other", 404, {}),
        ("GET", "/v1/models/m", "health.v1_model", M),
        ("GET", "/v1/models", "health.v1_models", {}),
        ("GET", "/workflows", "workflows.list_workflows", {}),
        ("POST", "/workflows?url=w.war", "workflows.register", {}),
        ("PUT", "/workflows", 405, {}),
        ("OPTIONS", "/workflows", 405, {}),
        ("GET", "/workflows/w", "workflows.describe", W),
        ("DELETE", "/workflows/w", "workflows.unregister", W),
        ("POST", "/workflows/w", 405, {}),
        ("POST", "/wfpredict/w", 404, {}),
        ("GET", "/predictions/m", 404, {}),
        ("GET", "/ping", 404, {}),
    ],
)
def test_the_management_listener(method, target, endpoint, params):
    assert found("management", method, target) == (endpoint, params)


@pytest.mark.parametrize(
    ("method", "target", "endpoint", "params"),
    [
        ("POST", "/models/m/invoke", "inference.invoke", M),
        ("GET", "/models/m/2", "management.describe", V),
        ("PUT", "/models/m/2", "management.scale", V),
        ("GET", "/models/m/all", "management.describe", {**V, "model_version": "all"}),
        ("GET", "/models", "management.list_models", {}),
        ("GET", "/metrics", "metrics.metrics", {}),
        ("GET", "/metrics/x", "metrics.metrics", {"rest": "x"}),
        ("GET", "/v1/models/m", "health.v1_model", M),
        ("GET", "/ping", "health.ping", {}),
        ("POST", "/wfpredict/w", "workflows.predict", W),
        ("GET", "/workflows/w", "workflows.describe", W),
    ],
)
def test_a_listener_that_serves_all(method, target, endpoint, params):
    assert found("shared", method, target) == (endpoint, params)


def test_the_open_inference_routes_are_there_on_demand_only():
    routes = inference_routes(Api("inference"), Api("tensors"), Api("health"), DESCRIPTIONS)

    assert not [route for route in routes if route.path.startswith("/v2/health")]
    assert [route for route in routes if route.path == "/v2/models/{model_name}/infer"]


def test_a_405_of_the_table_tells_the_methods():
    play = HttpPlay(context={"router": ROUTERS["management"]}).feed(request("/models/m", "POST"))

    assert play.response().header("allow") == "DELETE, GET, HEAD, OPTIONS, PUT"


# -- paths that a platform has chosen


@pytest.mark.parametrize(
    ("target", "endpoint"),
    [
        ("/v1/endpoints/1/deployedModels/2", "health.ready"),
        ("/v1/endpoints/1/deployedModels/2:predict", "inference.invocations"),
        ("/ping", "health.ping"),
    ],
)
def test_a_platform_may_choose_paths(target, endpoint):
    prefix = "/v1/endpoints/1/deployedModels/2"
    first, last = platform_routes(
        Api("inference"), Api("health"), health_route=prefix, predict_route=f"{prefix}:predict"
    )

    match = Router([*first, *INFERENCE, *last]).match(b"POST", target.encode())

    assert match.endpoint.__name__ == endpoint


def test_the_health_path_wins_over_ping_and_a_known_path_over_the_predictions():
    first, last = platform_routes(
        Api("inference"), Api("health"), health_route="/ping", predict_route="/predictions/m"
    )
    router = Router([*first, *INFERENCE, *last])

    assert router.match(b"GET", b"/ping").endpoint.__name__ == "health.ready"
    assert router.match(b"POST", b"/predictions/m").endpoint.__name__ == "inference.predict"


def test_without_a_choice_there_are_no_more_paths():
    routes = platform_routes(Api("inference"), Api("health"), health_route="", predict_route="")

    assert routes == ([], [])
