"""The time of day is set while a server works: nothing that waits may notice.

No program that fakes clocks is needed: the interpreter of the server and of its workers imports a
`sitecustomize` that adds a file's number to ``time.time()``. The monotonic clock stays as it is, as
it does when an operator, or NTP, sets the clock.
"""

import json
import threading
import time

import pytest
import requests
from serving import RunningServer, eventually, workers

pytestmark = pytest.mark.e2e

DAY_S = 86_400

SITE = """
import os
import time

_time = time.time


def _shifted():
    try:
        with open(os.environ["CLOCK_FILE"]) as file:
            return _time() + int(file.read() or 0)
    except (KeyError, OSError):
        return _time()


time.time = _shifted
time.time_ns = lambda: int(_shifted() * 1e9)
"""
TELLING = """
import time


def handle(data, context):
    return None if data is None else [{"day": int(time.time() // 86400)} for _ in data]
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory):
    """A server with tokens, whose clock `set_clock` sets."""
    running = RunningServer(tmp_path_factory.mktemp("clock"))
    site = running.folder / "site"
    site.mkdir()
    (site / "sitecustomize.py").write_text(SITE)
    (site / "clock").write_text("0")
    running.environ |= {"PYTHONPATH": str(site), "CLOCK_FILE": str(site / "clock")}
    running.properties["disable_token_authorization"] = "false"
    limits = {"clientTimeoutInMills": 20_000, "responseTimeout": 20}
    running.add("sleepy", "sleepy", **workers(1), **limits)
    running.add("batch", "batch", **workers(1, batchSize=4, maxBatchDelay=200))
    running.add("dying", "dying", **workers(1))
    (running.store / "telling").mkdir()
    (running.store / "telling" / "telling.py").write_text(TELLING)
    try:
        running.launch()
        running.wait_started()
        eventually(lambda: len(ready(running)) >= 3, "all models are ready", 30)
        yield running
        set_clock(running, 0)
        running.stop()
    finally:
        running.close()


def ready(server):
    return [line for line in server.log("ts_log.log").splitlines() if " is ready (pid" in line]


def set_clock(server, shift_s):
    draft = server.folder / "clock.new"
    draft.write_text(str(shift_s))
    draft.replace(server.folder / "site" / "clock")


def key(server, name="inference"):
    found = json.loads((server.folder / "key_file.json").read_text())[name]["key"]
    return {"Authorization": f"Bearer {found}"}


@pytest.mark.parametrize("days", [3, -3], ids=["forward", "back"])
def test_nothing_notices_that_the_clock_is_set(server, days):
    set_clock(server, 0)
    headers = key(server)
    kept = requests.Session()
    assert kept.get(f"{server.inference}/ping", headers=headers, timeout=10).status_code == 200
    answers = []

    def ask(name, body):
        answers.append(server.predict(name, body, headers=headers).status_code)

    # One that runs, one that waits behind it, and one that waits for company.
    asked = [("sleepy", {"sleep": 1.5}), ("sleepy", {}), ("batch", b"x")]
    threads = [threading.Thread(target=ask, args=each) for each in asked]
    for thread in threads:
        thread.start()
        time.sleep(0.05)
    set_clock(server, days * DAY_S)
    for thread in threads:
        thread.join(30)
    assert answers == [200, 200, 200]

    # The keys are as good as before, the connection is still there, and a worker that ends comes
    # back.
    assert kept.get(f"{server.inference}/ping", headers=headers, timeout=10).status_code == 200
    assert server.predict("dying", b"os_exit", headers=headers).status_code == 500
    eventually(
        lambda: server.predict("dying", b"alive", headers=headers).status_code == 200,
        "the worker is back",
    )

    # And the clock was set, for the server as for the workers.
    day = int(time.time() // DAY_S) + days
    url = f"{server.management}/models?url=telling&handler=telling.py&initial_workers=1"
    made = requests.post(f"{url}&model_name=t{days}", headers=key(server, "management"), timeout=30)
    assert made.status_code == 200
    assert abs(server.predict(f"t{days}", b"", headers=headers).json()["day"] - day) <= 1
    stamp = time.strftime("%Y-%m-%dT", time.localtime(time.time() + days * DAY_S))
    eventually(lambda: stamp in server.log("access_log.log"), "lines of another day")
