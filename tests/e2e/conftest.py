"""Fixtures for tests with real servers."""

import os
import sys
import threading
from pathlib import Path

import pytest

# The helper modules lie beside the tests; importlib mode leaves their folder out of the path.
sys.path.insert(0, str(Path(__file__).parent))

import asyncio

from serving import RunningServer, workers
from wire import Load


def pytest_collection_modifyitems(items):
    """In CI a test with real processes gets a second chance: a shared machine can stand still.

    A rerun is counted in the summary, so that a race is seen all the same. Elsewhere there is none.
    """
    if os.environ.get("CI"):
        folder = Path(__file__).parent
        for item in items:
            if folder in item.path.parents:
                item.add_marker(pytest.mark.flaky(reruns=1))


@pytest.fixture
def server(tmp_path_factory):
    """A server of the test's own, not yet started."""
    running = RunningServer(tmp_path_factory.mktemp("s", numbered=True))
    yield running
    running.close()


@pytest.fixture(scope="session")
def shared(tmp_path_factory):
    """A server with the harmless models, for tests that leave it as they found it."""
    running = RunningServer(tmp_path_factory.mktemp("shared"))
    running.add("echo", "echo", **workers(1))
    running.add("form", "form", **workers(1))
    running.add("stream", "stream", **workers(1))
    running.add("sleepy", "sleepy", **workers(1))
    running.add("batch", "batch", **workers(1, batchSize=4, maxBatchDelay=300))
    running.add(
        "eager", "batch", **workers(1, batchSize=4, maxBatchDelay=5000, batchPolicy="eager")
    )
    running.add("limited", "sleepy", **workers(1, clientTimeoutInMills=400))
    try:
        running.start()
        yield running
        running.stop()
    finally:
        running.close()


@pytest.fixture
def load():
    """Starts load in the background; at the end of the test all of it must have stopped."""
    started = []

    def start(*args, **options):
        generator = Load(*args, **options)
        thread = threading.Thread(target=lambda: asyncio.run(generator.run()), daemon=True)
        thread.start()
        started.append((generator, thread))

        def finish(within=60):
            generator.is_stopping = True
            thread.join(within)
            assert not thread.is_alive(), "some requests are still not answered"
            return generator

        generator.finish = finish
        return generator

    yield start
    for generator, thread in started:
        generator.is_stopping = True
        thread.join(10)
