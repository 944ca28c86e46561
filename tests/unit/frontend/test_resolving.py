"""Archives beside the event loop: progress, giving up, leaving nothing behind."""

from __future__ import annotations

import asyncio
import logging
import threading

import pytest

from tsl.frontend import resolving
from tsl.frontend.resolving import REPORT_EVERY_S, Progress, Resolver
from tsl.model_store import RegistrationRequest
from tsl.protocol.errors import ModelNotFound, ShuttingDown

REQUEST = RegistrationRequest(url="http://host/m.mar?X-Amz-Signature=secret")
VERSION = object()


class FakeStore:
    """A store whose work lasts until it is told to end, and tells of its progress meanwhile."""

    def __init__(self, *, tells=True):
        self.has_begun = threading.Event()
        self.may_end = threading.Event()
        self.removed = []
        self.ended_with = None
        self.running = self.most = 0
        self._tells = tells
        self._lock = threading.Lock()

    def resolve(self, request, on_progress=None):
        with self._lock:
            self.running += 1
            self.most = max(self.most, self.running)
        self.has_begun.set()
        try:
            while not self.may_end.wait(0.001):
                if self._tells:
                    on_progress("downloading", 1, 2)
        except ShuttingDown as error:
            self.ended_with = error
            raise
        finally:
            with self._lock:
                self.running -= 1
        if request.url == "none":
            raise ModelNotFound("none")
        return VERSION

    def remove(self, version):
        self.removed.append(version)


async def begun(store, url=REQUEST.url):
    """A resolution that is under way in its thread."""
    task = asyncio.create_task(Resolver(store).resolve(RegistrationRequest(url=url)))
    await asyncio.to_thread(store.has_begun.wait, 10)
    return task


def test_the_result_is_the_stores():
    async def scenario():
        store = FakeStore()
        task = await begun(store)
        store.may_end.set()
        return await task, store.removed

    assert asyncio.run(scenario()) == (VERSION, [])


def test_so_is_its_error():
    async def scenario():
        store = FakeStore()
        task = await begun(store, "none")
        store.may_end.set()
        with pytest.raises(ModelNotFound):
            await task

    asyncio.run(scenario())


def test_what_is_given_up_ends_by_itself():
    async def scenario():
        store = FakeStore()
        task = await begun(store)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        return store

    store = asyncio.run(scenario())
    assert isinstance(store.ended_with, ShuttingDown)
    assert store.removed == []


def test_what_is_ready_when_it_is_given_up_is_removed(monkeypatch):
    monkeypatch.setattr(resolving, "LAST_WORDS_S", 10.0)

    async def scenario():
        store = FakeStore(tells=False)
        task = await begun(store)
        task.cancel()
        await asyncio.sleep(0)
        store.may_end.set()
        with pytest.raises(asyncio.CancelledError):
            await task
        return store.removed

    assert asyncio.run(scenario()) == [VERSION]


def test_a_source_that_is_silent_holds_nobody_up(monkeypatch):
    monkeypatch.setattr(resolving, "LAST_WORDS_S", 0.01)

    async def scenario():
        store = FakeStore(tells=False)
        task = await begun(store)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        was_running = store.running
        store.may_end.set()
        for _ in range(1000):  # the thread ends, and what it has made is undone
            await asyncio.sleep(0.005)
            if store.removed:
                break
        return was_running, store.removed

    assert asyncio.run(scenario()) == (1, [VERSION])


def test_the_number_of_threads_is_bounded(monkeypatch):
    monkeypatch.setattr(resolving, "AT_ONCE", 2)

    async def scenario():
        store = FakeStore()
        resolver = Resolver(store)
        tasks = [asyncio.create_task(resolver.resolve(REQUEST)) for _ in range(6)]
        await asyncio.to_thread(store.has_begun.wait, 10)
        store.may_end.set()
        await asyncio.gather(*tasks)
        return store.most

    assert asyncio.run(scenario()) <= 2


# -- progress -----------------------------------------------------------------------------------------


class Clock:
    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


def test_progress_is_logged_now_and_then_without_what_may_be_secret(caplog):
    clock = Clock()
    progress = Progress(REQUEST.url, clock)

    with caplog.at_level(logging.INFO):
        for second in range(12):
            clock.now = float(second)
            progress("downloading", second * 10_000_000, 200_000_000)

    assert [record.getMessage() for record in caplog.records] == [
        "http://host/m.mar: downloading, 50.0 of 200.0 MB (25 %), 10.0 MB/s",
        "http://host/m.mar: downloading, 100.0 of 200.0 MB (50 %), 10.0 MB/s",
    ]


def test_each_stage_has_its_own_rate_and_the_total_may_be_unknown(caplog):
    clock = Clock()
    progress = Progress("m.mar", clock)

    with caplog.at_level(logging.INFO):
        progress("checking", 1, 2)
        clock.now = 100.0
        progress("unpacking", 0, 0)
        clock.now += REPORT_EVERY_S
        progress("unpacking", 5_000_000, 0)

    assert caplog.records[-1].getMessage() == "m.mar: unpacking, 5.0 MB, 1.0 MB/s"


def test_progress_that_is_given_up_raises():
    progress = Progress("m.mar")
    progress("downloading", 1, 2)
    progress.is_given_up = True

    with pytest.raises(ShuttingDown):
        progress("downloading", 2, 2)
