from __future__ import annotations

import re
import time

from tsl.frontend.http_api.clock import Clock


def test_a_clock_has_the_time_and_the_date_from_its_start():
    before = time.monotonic()

    clock = Clock()

    assert before <= clock.now <= time.monotonic()
    assert re.search(rb"\r\ndate: \w{3}, \d\d \w{3} \d{4} \d\d:\d\d:\d\d GMT\r\n$", clock.headers)


def test_a_clock_stands_still_between_ticks():
    clock = Clock()
    clock.now, clock.headers = 0.0, b""

    clock.tick()

    assert clock.now > 0
    assert clock.headers.startswith(b"Pragma: no-cache\r\n")
