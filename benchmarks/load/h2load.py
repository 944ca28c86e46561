"""Drive a gRPC server by h2load, which sends one call over and over and knows nothing of gRPC."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class Calls:
    """What h2load saw.

    Attributes:
        count: complete answers.
        rate: complete answers per second.
        mean_us: mean time of a call, microseconds.
        times_us: time of each call, microseconds; only where they are asked for.
        errors: broken streams, answers without status 200, and 1 if the data of all answers is less
            than it must be: gRPC's errors have status 200, and no data.
    """

    count: int
    rate: float
    mean_us: float
    errors: int
    times_us: Sequence[float] = ()


def check_installed() -> None:
    """Say so when h2load is missing.

    Raises:
        SystemExit: it is.
    """
    if shutil.which("h2load") is None:
        raise SystemExit("h2load is missing; on Debian and Ubuntu: apt-get install nghttp2-client")


def run_h2load(
    url: str,
    body_file: Path,
    answer_bytes: int,
    *,
    clients: int,
    streams: int,
    seconds: float,
    headers: Mapping[str, str] | None = None,
    log: Path | None = None,
) -> Calls:
    """Make one call over and over.

    Args:
        url: ``http://host:port/package.Service/Method``.
        body_file: file with the message and its prefix.
        answer_bytes: of the data of a right answer.
        clients: connections.
        streams: calls at a time, on each.
        seconds: for how long.
        headers: of each call, besides those of gRPC.
        log: file for the time of each call; None when nobody asks for them.

    Raises:
        SystemExit: h2load itself failed.
    """
    argv = [
        "h2load",
        "-t",
        "1",
        "-c",
        str(clients),
        "-m",
        str(streams),
        "-D",
        f"{seconds * 1000:.0f}ms",
    ]
    given = {"content-type": "application/grpc", "te": "trailers", **(headers or {})}
    for name, value in given.items():
        argv += ["-H", f"{name}: {value}"]
    if log is not None:
        log.unlink(missing_ok=True)  # h2load appends
        argv.append(f"--log-file={log}")
    done = subprocess.run(
        [*argv, "-d", str(body_file), url], capture_output=True, text=True, check=False
    )
    text = done.stdout
    count, failed, errored = (
        _number(text, rf"(\d+) {word}") for word in ("2xx", "failed", "errored")
    )
    if done.returncode or not count:
        raise SystemExit(f"h2load failed on {url}: {text}{done.stderr}")
    data_bytes = _number(text, r"traffic: .*\((\d+)\) data")
    is_short = data_bytes < int(count) * answer_bytes
    return Calls(
        int(count),
        count / seconds,
        _microseconds(text),
        int(failed + errored) + is_short,
        times_in(log.read_text(encoding="ascii")) if log is not None else (),
    )


def times_in(log: str) -> list[float]:
    """The times of successful calls, microseconds.

    Args:
        log: a line for each call: when it began, status, and how long it took.
    """
    rows = (line.split("\t") for line in log.splitlines())
    return [float(row[2]) for row in rows if row[1] == "200"]


def _number(text: str, pattern: str) -> float:
    found = re.search(pattern, text)
    return float(found[1]) if found else 0.0


def _microseconds(text: str) -> float:
    found = re.search(r"time for request: +\S+ +\S+ +([\d.]+)(us|ms|s)", text)
    return float(found[1]) * {"us": 1.0, "ms": 1e3, "s": 1e6}[found[2]] if found else 0.0
