"""What no server can be better than: bare httptools on uvloop; the model called in a plain loop."""

from __future__ import annotations

import json
import platform
import subprocess
import sys
from pathlib import Path

from tsl.frontend.child_process import MALLOC_DEFAULTS

from ..load.samples import Load
from ..processes import ROOT, free_ports
from .base import Launch, Peer, Service, Work, classifier_environ


class Bare(Peer):
    """httptools on uvloop and nothing else: no routes, no checks, no worker."""

    name = "ceiling"
    title = "ceiling: bare httptools and uvloop"
    distribution = "httptools"
    works = frozenset({Work.ECHO, Work.STREAM, Work.TENSOR})

    @property
    def python(self) -> str:
        """The interpreter that runs the benchmark."""
        return sys.executable

    def serves(self, service: Service) -> bool:
        """One process is all it has."""
        return super().serves(service) and service.workers == 1

    def launch(self, service: Service, folder: Path) -> Launch:
        """It needs nothing."""
        (port,) = free_ports(1)
        work = "stream" if service.work is Work.STREAM else "echo"
        argv = [self.python, "-m", "benchmarks.load.bare", "--port", str(port), "--work", work]
        return Launch(argv=argv, port=port, path="/", environ={"PYTHONPATH": str(ROOT)})


class PlainLoop:
    """The classifier called over and over in one process, without a server.

    It has what a worker of tsl has by default: its C library keeps the memory of a batch for the
    next one. Without that, batches of eight take twice as long, and a server would beat its ceiling.

    Args:
        service: says how many pictures share a call.
        folder: an empty one, for the model.
    """

    name = "ceiling"
    title = "ceiling: the model in a plain loop"

    def __init__(self, service: Service, folder: Path, picture: bytes) -> None:
        (folder / "picture").write_bytes(picture)
        environ = {**MALLOC_DEFAULTS, **service.environ(), **classifier_environ(service, folder)}
        argv = [sys.executable, "-m", "benchmarks.load.plain_loop", str(folder / "picture")]
        self._process = subprocess.Popen(
            argv, cwd=ROOT, env=environ, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def measure(self, seconds: float) -> Load:
        """Call it for so long."""
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        stdin.write(f"{seconds}\n")
        stdin.flush()
        return Load(**json.loads(stdout.readline()))

    def close(self) -> None:
        """End it."""
        self._process.kill()
        self._process.wait()


def version() -> str:
    """Of the interpreter, which is all that the ceilings are."""
    return f"Python {platform.python_version()}"
