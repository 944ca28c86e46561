"""What people read when a server starts."""

from __future__ import annotations

import dataclasses

import pytest

from tsl.cli.summary import READY_MARKER, Example, listening_lines, settled_lines
from tsl.frontend.report import ModelReport

TORCHSERVE_MARKER = "Model server started."


def ready(name):
    return ModelReport(name=name, version="1.0", state="ready", workers_ready=1, workers_wanted=1)


def test_the_marker_is_the_one_that_launch_scripts_wait_for():
    assert READY_MARKER == TORCHSERVE_MARKER


def test_listening_shows_marker_addresses_and_what_is_loading(report):
    assert listening_lines(report) == [
        "Model server started.",
        "  inference   http://127.0.0.1:8080",
        "  management  http://127.0.0.1:8081",
        "  metrics     http://127.0.0.1:8082",
        "Loading slow ...",
    ]


def test_a_metrics_api_that_is_off_is_not_shown(report):
    lines = listening_lines(dataclasses.replace(report, metrics="", models=()))

    assert lines[-1].startswith("  management")


def test_settled_shows_states_reasons_and_a_request_to_try(report):
    assert settled_lines(report, Example())[:2] == [
        "  ready       good 1.0 (2/2 workers, 1.2 s)",
        "  failed      bad 2.0: No module named 'x'",
    ]
    assert settled_lines(report, Example())[-1] == (
        "  curl http://127.0.0.1:8080/predictions/good -T FILE"
    )


def test_nothing_is_to_be_tried_when_nothing_is_ready(report):
    failed = dataclasses.replace(report, models=report.models[1:])

    assert not any("curl" in line for line in settled_lines(failed, Example()))


def test_a_server_without_models_says_how_to_get_some(report):
    (line,) = settled_lines(dataclasses.replace(report, models=()), Example())

    assert "--models" in line


def test_with_tokens_the_request_asks_for_the_key_instead_of_showing_it(report):
    line = settled_lines(report, Example(needs_token=True))[-1]

    assert line.startswith('  curl -H "Authorization: Bearer $(tsl token)" http://')


def test_with_tokens_the_summary_says_how_to_get_a_key(report):
    nothing = dataclasses.replace(report, models=())

    assert "`tsl token`" in settled_lines(nothing, Example(needs_token=True))[-1]
    assert not any("`tsl token`" in line for line in settled_lines(nothing, Example()))


@pytest.mark.parametrize(
    ("name", "path"), [("a b", "/predictions/a%20b"), ("ä", "/predictions/%C3%A4")]
)
def test_names_are_encoded_in_the_request(report, name, path):
    renamed = dataclasses.replace(report, models=(ready(name),))

    assert path in settled_lines(renamed, Example())[-1]


def test_a_unix_socket_is_reached_by_curls_option(report):
    on_socket = dataclasses.replace(report, inference="unix:/run/a b.sock")

    assert settled_lines(on_socket, Example())[-1] == (
        "  curl --unix-socket '/run/a b.sock' http://localhost/predictions/good -T FILE"
    )


def test_the_demo_shows_its_own_requests(report):
    demo = Example(
        curl_lines=("curl {inference}/predictions/a", "curl -N {inference}/predictions/b -d x"),
        needs_token=True,
    )

    assert settled_lines(report, demo)[-2:] == [
        '  curl -H "Authorization: Bearer $(tsl token)" http://127.0.0.1:8080/predictions/a',
        '  curl -H "Authorization: Bearer $(tsl token)" -N http://127.0.0.1:8080/predictions/b -d x',
    ]


def test_the_addresses_of_grpc_are_told_if_there_are_any(report):
    both = ("127.0.0.1:7070", "127.0.0.1:7071")

    lines = listening_lines(dataclasses.replace(report, grpc=both))

    assert "  gRPC        127.0.0.1:7070, 127.0.0.1:7071" in lines
    assert not any("gRPC" in line for line in listening_lines(report))
