"""Drive a server by wrk."""

from __future__ import annotations

import json
import shutil
import subprocess
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
    url: str, body_file: Path, answer_size: int, *, clients: int, seconds: float, key: str = ""
) -> Load:
    """POST a body over and over.

    Args:
        url: where.
        body_file: file with the body.
        answer_size: bytes of the body of a right answer.
        clients: connections, each with one request at a time.
        seconds: for how long; wrk takes whole seconds.
        key: token to send, "" for none.

    Raises:
        SystemExit: wrk itself failed.
    """
    argv = ["wrk", "--threads", "1", "--connections", str(clients)]
    argv += ["--duration", f"{max(1, round(seconds))}s", "--timeout", "10s"]
    argv += ["--script", str(SCRIPT), url, "--", str(body_file), *([key] if key else [])]
    done = subprocess.run(argv, capture_output=True, text=True, check=False)
    lines = [line for line in done.stdout.splitlines() if line.startswith("{")]
    if done.returncode or not lines:
        raise SystemExit(f"wrk failed on {url}: {done.stdout}{done.stderr}")
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
