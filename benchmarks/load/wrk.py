"""Drive a server by wrk."""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from .samples import Load

SCRIPT: Final = Path(__file__).with_suffix(".lua")


def check_installed() -> None:
    """Say so when wrk is missing.

    Raises:
        SystemExit: it is.
    """
    if shutil.which("wrk") is None:
        raise SystemExit("wrk is not installed; on Debian and Ubuntu: apt-get install wrk")


def run_wrk(
    url: str,
    body_file: Path,
    answer_size: int,
    *,
    clients: int,
    seconds: float,
    headers: Mapping[str, str],
    is_slow: bool = False,
) -> Load:
    """POST a body over and over.

    Args:
        url: where.
        body_file: file with the body.
        answer_size: bytes of the body of a right answer.
        clients: connections, each with one request at a time.
        seconds: for how long; wrk takes whole seconds.
        headers: of each request.
        is_slow: whether answers take so long that those which are on their way at the end matter:
            a batch of 16 that takes half a second is a quarter of two seconds. The rate is then
            that until the last answer, as a plain loop counts it.

    Raises:
        SystemExit: wrk itself failed.
    """
    argv = ["wrk", "--threads", "1", "--connections", str(clients)]
    argv += ["--duration", f"{max(1, round(seconds))}s", "--timeout", "10s"]
    argv += ["--script", str(SCRIPT), url, "--", str(body_file)]
    argv.append("last answer" if is_slow else "end")
    argv += [f"{name}: {value}" for name, value in headers.items()]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    if done.returncode:
        raise SystemExit(f"wrk failed on {url}: {done.stdout}{done.stderr}")
    return read_result(done.stdout, answer_size)


def read_result(text: str, answer_size: int) -> Load:
    """What the script has printed.

    Args:
        text: output of wrk.
        answer_size: bytes of the body of a right answer.

    Raises:
        SystemExit: it has printed nothing of ours.
    """
    lines = [line for line in text.splitlines() if line.startswith("{")]
    if not lines:
        raise SystemExit(f"wrk says nothing of use: {text}")
    result = json.loads(lines[-1])
    errors = result["bad_status"] + result["socket_errors"]
    if result["requests"] == 0 or result["bytes"] < answer_size * result["requests"]:
        errors += 1  # answers that are too short
    return Load(
        result["requests"],
        result["requests"] / result["duration_us"] * 1e6,
        result["p50_us"],
        result["p99_us"],
        errors,
    )
