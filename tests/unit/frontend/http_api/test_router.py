from __future__ import annotations

import pytest
from http_client import HttpPlay, request

from tsl.frontend.http_api.router import MAX_CACHED, Route, Router, decode_path
from tsl.protocol.errors import InvalidRequest, MethodNotAllowed, ResourceNotFound


def endpoint(name):
    def answer(exchange, params):
        exchange.respond_json({"endpoint": name, **params})

    answer.__name__ = name
    return answer


ROUTER = Router(
    [
        Route(path="/", methods={"OPTIONS": endpoint("describe")}),
        Route(path="/ping", methods={"*": endpoint("ping")}),
        Route(path="/ping/{rest...}", methods={"*": endpoint("ping_rest")}),
        Route(path="/models", methods={"GET": endpoint("list"), "POST": endpoint("register")}),
        Route(path="/models/{name}", methods={"GET": endpoint("get"), "PUT": endpoint("put")}),
        Route(path="/models/{name}/{version}", methods={"DELETE": endpoint("delete")}),
        Route(path="/models/{name}/{version}", methods={"PUT": endpoint("put_version")}),
        Route(path="/p/{name}", methods={"OPTIONS": endpoint("help"), "*": endpoint("predict")}),
        Route(path="/p/{name}/{version}/{rest...}", methods={"*": endpoint("rest")}),
        Route(path="/v1/models/{name}:predict", methods={"*": endpoint("v1")}),
        Route(path="/v1/models/{name}", methods={"GET": endpoint("v1_ready")}),
        Route(path="/{name}/predict", methods={"*": endpoint("legacy")}),
        Route(path="/a.b+c", methods={"*": endpoint("literal")}),
    ]
)


@pytest.mark.parametrize(
    ("method", "target", "expected", "params"),
    [
        ("GET", "/ping", "ping", {}),
        ("GET", "/ping?a=b", "ping", {}),
        ("GET", "/ping?", "ping", {}),
        ("GET", "/ping?a=/x", "ping", {}),
        ("GET", "/ping/", "ping", {}),
        ("GET", "/ping//", "ping", {}),
        ("GET", "/ping/a/b", "ping_rest", {"rest": "a/b"}),
        ("GET", "/ping/a/", "ping_rest", {"rest": "a"}),
        ("DELETE", "/ping", "ping", {}),
        ("GET", "/p%69ng", "ping", {}),
        ("GET", "/models", "list", {}),
        ("HEAD", "/models", "list", {}),
        ("POST", "/models", "register", {}),
        ("HEAD", "/p/a", "predict", {"name": "a"}),
        ("OPTIONS", "/p/a", "help", {"name": "a"}),
        ("GET", "/models/a", "get", {"name": "a"}),
        ("GET", "/models/a%2Fb", None, {}),
        ("PUT", "/models/a%2fb", "put_version", {"name": "a", "version": "b"}),
        ("PUT", "/models/a/b", "put_version", {"name": "a", "version": "b"}),
        ("DELETE", "/models/a/b", "delete", {"name": "a", "version": "b"}),
        ("GET", "/models/a+b", "get", {"name": "a+b"}),
        ("GET", "/models/a%20b", "get", {"name": "a b"}),
        ("GET", "/models/%C3%A4", "get", {"name": "ä"}),
        ("GET", "/models/%ff", "get", {"name": "\ufffd"}),
        ("GET", "/models/a%0Ab", "get", {"name": "a\nb"}),
        ("GET", "/models/{name}", "get", {"name": "{name}"}),
        ("GET", "/models/a:b", "get", {"name": "a:b"}),
        ("GET", "/models/%252F", "get", {"name": "%2F"}),
        ("GET", "/models/%3Fx", "get", {"name": "?x"}),
        ("GET", "/p/a/b/c/d", "rest", {"name": "a", "version": "b", "rest": "c/d"}),
        ("GET", "/p/a/b/c//d", "rest", {"name": "a", "version": "b", "rest": "c//d"}),
        ("GET", "/v1/models/a:predict", "v1", {"name": "a"}),
        ("GET", "/v1/models/a", "v1_ready", {"name": "a"}),
        ("GET", "/x/predict", "legacy", {"name": "x"}),
        ("GET", "/p/predict", "predict", {"name": "predict"}),
        ("GET", "/a.b+c", "literal", {}),
        ("OPTIONS", "*", "describe", {}),
        ("OPTIONS", "/", "describe", {}),
        ("GET", "http://h/ping", "ping", {}),
        ("GET", "HTTPS://u@h:1/ping?x=http://y/z", "ping", {}),
        ("OPTIONS", "http://h", "describe", {}),
        ("OPTIONS", "http://h/", "describe", {}),
    ],
)
def test_a_target_finds_its_endpoint(method, target, expected, params):
    if expected is None:
        with pytest.raises(MethodNotAllowed):
            ROUTER.match(method.encode(), target.encode())
        return

    found = ROUTER.match(method.encode(), target.encode())

    assert (found.endpoint.__name__, found.params) == (expected, params)


@pytest.mark.parametrize(
    "target",
    [
        "/none",
        "//ping",
        "//",
        "/%2Fping",
        "/p//a",
        "/models//a",
        "/p",
        "/p/",
        "/pingx",
        "/ping.",
        "ping",
        "*",
        "h:80",
        "/v1/models/a:verb",
        "/v1/models/:predict",
        "/v1/models/a:b:predict",
        "/axb+c",
        "/Ping",
        "ftp://h/ping",
        "http:/ping",
        "/http://h/ping",
        "/ping#x",
        "/..;/ping",
        "/x/../ping",
    ],
)
def test_a_path_that_no_route_has_is_not_found(target):
    with pytest.raises(ResourceNotFound):
        ROUTER.match(b"GET", target.encode())


@pytest.mark.parametrize(
    ("method", "target", "allowed"),
    [
        ("DELETE", "/models", b"Allow: GET, HEAD, POST\r\n"),
        ("POST", "/models/a", b"Allow: GET, HEAD, PUT\r\n"),
        ("GET", "/models/a/b", b"Allow: DELETE, PUT\r\n"),
        ("HEAD", "/models/a/b?x=y", b"Allow: DELETE, PUT\r\n"),
        ("GET", "/", b"Allow: OPTIONS\r\n"),
    ],
)
def test_a_method_that_a_path_does_not_have_is_refused_with_those_it_has(method, target, allowed):
    with pytest.raises(MethodNotAllowed):
        ROUTER.match(method.encode(), target.encode())

    assert ROUTER.allow(target.encode()) == allowed


def test_a_405_tells_the_methods():
    play = HttpPlay(context={"router": ROUTER}).feed(request("/models", "DELETE"))

    response = play.response()

    assert response.status == 405
    assert response.header("allow") == "GET, HEAD, POST"


@pytest.mark.parametrize("target", ["/%", "/%4", "/%zz", "/a%", "/%%41", "/p/%2", "/%u0041"])
def test_a_broken_escape_is_refused(target):
    with pytest.raises(InvalidRequest, match="two hex digits"):
        ROUTER.match(b"GET", target.encode())


def test_a_broken_escape_in_the_query_is_the_endpoints_business():
    assert ROUTER.match(b"GET", b"/ping?%zz").endpoint.__name__ == "ping"


@pytest.mark.parametrize(
    ("raw", "path"),
    [(b"/", "/"), (b"/a/", "/a"), (b"/a%2F", "/a"), (b"//", "//"), (b"/a//b/", "/a//b")],
)
def test_paths_are_decoded_before_they_are_split(raw, path):
    assert decode_path(raw) == path


def test_the_memory_of_matches_is_bounded_and_makes_no_difference():
    router = Router([Route(path="/p/{name}", methods={"*": endpoint("p")})])

    for _ in range(2):
        for n in range(MAX_CACHED + 10):
            assert router.match(b"GET", b"/p/%d" % n).params == {"name": str(n)}
            assert router.match(b"GET", b"/p/%d?x" % n).params == {"name": str(n)}

    assert len(router._cache) <= MAX_CACHED


def test_the_method_is_part_of_what_is_remembered():
    ROUTER.match(b"GET", b"/models")

    assert ROUTER.match(b"POST", b"/models").endpoint.__name__ == "register"
    with pytest.raises(MethodNotAllowed):
        ROUTER.match(b"DELETE", b"/models")


def test_a_refusal_of_the_listener_answers_what_no_route_takes():
    refused = []

    def refusal(error):
        def refuse(exchange, params):
            del exchange, params
            refused.append(error)
            raise error

        return refuse

    router = Router([Route(path="/get", methods={"GET": endpoint("get")})], refusal)

    for method, target in ((b"GET", b"/none"), (b"POST", b"/get")):
        found = router.match(method, target)
        with pytest.raises((ResourceNotFound, MethodNotAllowed)):
            found.endpoint(None, found.params)

    assert refused == [ResourceNotFound, MethodNotAllowed]
