"""Decisions of the server that need no listener and no process."""

from __future__ import annotations

import asyncio
import signal
from types import SimpleNamespace

import pytest

from tsl.frontend.config import ServerConfig
from tsl.frontend.server import Server, _start_locations, _sweep
from tsl.protocol.errors import InvalidArchive


@pytest.fixture
def server(world):
    return Server(ServerConfig.load(None, {}, {}), SimpleNamespace())


def test_all_models_of_the_store_are_asked_from_the_store():
    config = ServerConfig.load("load_models=all\nmodel_store=/m", {}, {})
    store = SimpleNamespace(list_start_models=lambda what: [(None, "a.mar"), (None, "b.mar")])

    assert _start_locations(config, store) == [(None, "a.mar"), (None, "b.mar")]


def test_listed_models_keep_their_names():
    config = ServerConfig.load("load_models=a.mar,n=b.mar", {}, {})

    assert _start_locations(config, None) == [(None, "a.mar"), ("n", "b.mar")]


def test_without_models_nothing_is_loaded():
    assert _start_locations(ServerConfig.load("", {}, {}), None) == []


def test_the_first_signal_stops_and_a_second_one_only_warns(server, caplog):
    server._on_signal(signal.SIGTERM)
    assert server._stopping.is_set()

    server._on_signal(signal.SIGINT)

    assert "SIGINT again: the drain goes on" in caplog.text


def test_a_report_names_addresses_and_what_could_not_be_registered(server):
    server._load_failures = {"bad": InvalidArchive("It is damaged.")}
    address = SimpleNamespace(address=SimpleNamespace(client_url="http://127.0.0.1:8080"))
    parts = SimpleNamespace(named={"inference": address, "management": address}, registry=[])

    report = server._report(parts)

    assert report.inference == report.management == "http://127.0.0.1:8080"
    assert report.metrics == ""
    assert [(m.name, m.state, m.reason) for m in report.models] == [
        ("bad", "failed", "It is damaged.")
    ]


def test_only_connections_that_are_due_are_swept():
    swept = []

    def connection(name, deadline):
        return SimpleNamespace(deadline=deadline, sweep=lambda now: swept.append((name, now)))

    clock = SimpleNamespace(now=0.0)
    clock.tick = lambda: setattr(clock, "now", 10.0)
    parts = SimpleNamespace(
        clock=clock, connections=[connection("due", 10.0), connection("not due", 10.1)]
    )

    _sweep(parts)

    assert swept == [("due", 10.0)]


# -- work that a stop interrupts


def test_work_that_ends_before_the_stop_is_done(world, server):
    done = []

    async def work():
        done.append(await asyncio.sleep(1, "result"))

    world.run(server._until_stopped(work()))

    assert done == ["result"]


def test_a_stop_ends_the_work(world, server):
    async def work():
        await asyncio.sleep(1000)

    before = world.now
    world.loop.call_later(5, server._on_signal, signal.SIGTERM)
    world.run(server._until_stopped(work()))

    assert world.now - before == 5


def test_trouble_of_the_work_is_not_hidden(world, server):
    async def work():
        await asyncio.sleep(1)
        raise InvalidArchive("damaged")

    with pytest.raises(InvalidArchive):
        world.run(server._until_stopped(work()))
