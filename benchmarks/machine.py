"""Where and with what a measurement was made: belongs to every number that is kept."""

from __future__ import annotations

import datetime
import os
import platform
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path
from typing import Any

from .processes import ROOT


def describe() -> dict[str, Any]:
    """Machine, versions and command, as plain JSON data."""
    return {
        "command": " ".join([Path(sys.executable).name, "-m", _module(), *sys.argv[1:]]),
        "measured_at": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "machine": {
            "cpu": _cpu_model(),
            "cores": len(os.sched_getaffinity(0)),
            "kernel": platform.release(),
            "load_average_before": os.getloadavg()[0],
        },
        "versions": {
            "python": platform.python_version(),
            "uvloop": version("uvloop"),
            "httptools": version("httptools"),
            "tsl": version("tsl"),
            "commit": _commit(),
        },
    }


def _module() -> str:
    script = Path(sys.argv[0]).resolve()
    if not script.is_relative_to(ROOT):
        return script.name
    return ".".join(script.relative_to(ROOT).with_suffix("").parts)


def _cpu_model() -> str:
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        name, _, value = line.partition(":")
        if name.strip() == "model name":
            return value.strip()
    return platform.machine()


def _commit() -> str:
    """The checkout's commit, with a plus sign when files differ from it; "" outside of git."""
    commit = _git("rev-parse", "--short=12", "HEAD")
    return f"{commit}+" if commit and _git("status", "--porcelain") else commit


def _git(*words: str) -> str:
    try:
        done = subprocess.run(
            ["git", "--no-optional-locks", *words],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=True,
        )
    except (OSError, subprocess.CalledProcessError):
        return ""
    return done.stdout.strip()
