"""Start and stop a server from a script or a test: what ``ts.launcher`` offers.

The server is the command line's: a process of its own that outlives the script. Nothing of the
front end is imported here.
"""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterable, Mapping
from queue import Queue
from typing import IO, Any, Final

STARTED: Final = "Model server started"
"""The line that tells that the server listens."""

MANAGEMENT_URL: Final = "http://localhost:8081"
"""The management API at its default address; these functions know no other."""

START_TIMEOUT_S: Final = 120
LINES_KEPT: Final = 100_000

# -P keeps modules of the script's folder from taking the place of ours.
_TSL: Final = (sys.executable, "-P", "-m", "tsl.cli")


def start(
    model_store: str | os.PathLike[str] | None = None,
    snapshot_file: str | os.PathLike[str] | None = None,
    no_config_snapshots: bool = False,
    plugin_folder: str | os.PathLike[str] | None = None,
    disable_token: bool = False,
    models: str | Iterable[str] | None = None,
    enable_model_api: bool = False,
) -> Queue[str]:
    """Stop the server that may run, and start one.

    Args:
        model_store: folder with the archives.
        snapshot_file: configuration file.
        no_config_snapshots: neither write nor restore snapshots.
        plugin_folder: plugins of the Java server; must be None.
        disable_token: serve without tokens.
        models: models to load, such as ``all`` or ``m=m.mar``; one text or several.
        enable_model_api: allow to register models by the API.

    Returns:
        A queue of the lines that the server prints, the first ones included. It also prints
        them; when nobody takes them the oldest are dropped.

    Raises:
        RuntimeError: the server ended at once, or did not start in time.
        ValueError: there is a plugin folder.
    """
    if plugin_folder is not None:
        msg = "Plugins of the Java server cannot be loaded; leave out plugin_folder."
        raise ValueError(msg)
    stop()
    command = [*_TSL, "start"]
    for option, value in (("--model-store", model_store), ("--ts-config", snapshot_file)):
        if value is not None:
            command += [option, os.fspath(value)]
    if models:
        command += ["--models", *([models] if isinstance(models, str) else models)]
    for option, is_wanted in (
        ("--no-config-snapshots", no_config_snapshots),
        ("--disable-token-auth", disable_token),
        ("--enable-model-api", enable_model_api),
    ):
        if is_wanted:
            command.append(option)
    process = subprocess.Popen(  # noqa: S603  # our own command line
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
    )
    assert process.stdout is not None
    reader = _Reader(process.stdout)
    reader.start()
    reader.wait_started(START_TIMEOUT_S)
    return reader.lines


def stop(wait: bool = True) -> None:
    """Stop the server, if one runs.

    Args:
        wait: also wait until it has ended.

    Raises:
        RuntimeError: it could not be stopped.
    """
    command = [*_TSL, "stop"]
    if not wait:
        subprocess.Popen(command, stdin=subprocess.DEVNULL)  # noqa: S603  # our own command line
        return
    done = subprocess.run(  # noqa: S603  # our own command line
        command, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False
    )
    if done.returncode:
        msg = f"The server could not be stopped: {done.stderr.strip()}"
        raise RuntimeError(msg)


def register_model(model_name: str, url: str) -> Any:
    """Register a model and wait for one worker of it.

    Args:
        model_name: the name it gets.
        url: archive in the model store, or an address.

    Returns:
        The answer, a ``requests.Response``.
    """
    parameters = (
        ("model_name", model_name),
        ("url", url),
        ("initial_workers", "1"),
        ("synchronous", "true"),
    )
    return register_model_with_params(parameters)


def register_model_with_params(params: Mapping[str, str] | Iterable[tuple[str, str]]) -> Any:
    """Register a model.

    Args:
        params: parameters of ``POST /models``.

    Returns:
        The answer, a ``requests.Response``.

    Raises:
        ImportError: the package requests is not installed.
    """
    pairs = params.items() if isinstance(params, Mapping) else params
    try:
        requests = importlib.import_module("requests")
    except ModuleNotFoundError as error:
        msg = "ts.launcher registers models with the package requests: pip install requests"
        raise ImportError(msg) from error
    return requests.post(f"{MANAGEMENT_URL}/models", params=list(pairs), timeout=600)


class _Reader(threading.Thread):
    """Prints what a server writes and puts it into a queue, until the end of the pipe.

    Reading goes on for as long as this process lives: a server whose pipe nobody empties would
    lose its console log.

    Args:
        pipe: the server's output.
    """

    def __init__(self, pipe: IO[str]) -> None:
        super().__init__(name="ts-launcher", daemon=True)
        self.lines: Queue[str] = Queue()
        self._pipe = pipe
        self._first: list[str] = []
        self._has_settled = threading.Event()
        self._has_started = False

    def run(self) -> None:
        """Read."""
        with self._pipe:
            for line in self._pipe:
                sys.stdout.write(line)
                if self.lines.qsize() >= LINES_KEPT:
                    self.lines.get_nowait()  # only this thread puts, others only take
                self.lines.put(line)
                if not self._has_settled.is_set():
                    self._first.append(line)
                    if STARTED in line:
                        self._has_started = True
                        self._has_settled.set()
        self._has_settled.set()

    def wait_started(self, within_s: float) -> None:
        """Wait for the line `STARTED`.

        Raises:
            RuntimeError: the output ended without it, or the time is over.
        """
        deadline = time.monotonic() + within_s
        self._has_settled.wait(within_s)
        if not self._has_started:
            late = time.monotonic() >= deadline
            what = f"did not start within {within_s} s" if late else "ended while starting"
            msg = f"The server {what}:\n{''.join(self._first[-20:])}"
            raise RuntimeError(msg)
