"""A tsl server for a measurement: temporary folders, free ports, models from handler files.

Everything that a default installation does is on: tokens, metrics, access log (to its file and
to stdout, which goes to ``/dev/null`` here). Only the queue is longer, because with more clients
than places in the queue the right answer would be a refusal.
"""

from __future__ import annotations

import contextlib
import http.client
import json
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Protocol

from .processes import free_ports, running

HANDLERS: Final = Path(__file__).parent / "load" / "handlers"
HOST: Final = "127.0.0.1"
QUEUE_JOBS: Final = 4096

_START_S: Final = 60.0
_RETRY_S: Final = 0.002


class Archive(Protocol):
    """A model to serve, whatever it is made of."""

    def write_archive(self, folder: Path) -> None:
        """Write its archive into a model store."""


@dataclass(frozen=True, slots=True)
class Model:
    """A model to serve.

    Attributes:
        name: its name, and its archive's.
        handler: file in `HANDLERS`.
        settings: its ``model-config.yaml``; one worker unless it says otherwise.
    """

    name: str
    handler: str
    settings: Mapping[str, int] = field(default_factory=dict)

    def write_archive(self, folder: Path) -> None:
        """Write ``NAME.mar``."""
        settings = {"minWorkers": 1, "maxWorkers": 1, **self.settings}
        manifest = {
            "runtime": "python",
            "model": {
                "modelName": self.name,
                "modelVersion": "1.0",
                "handler": self.handler,
                "configFile": "model-config.yaml",
            },
        }
        with zipfile.ZipFile(folder / f"{self.name}.mar", "w") as archive:
            archive.writestr("MAR-INF/MANIFEST.json", json.dumps(manifest))
            archive.write(HANDLERS / self.handler, self.handler)
            archive.writestr(
                "model-config.yaml", "".join(f"{key}: {value}\n" for key, value in settings.items())
            )


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server said.

    Attributes:
        status: HTTP status.
        body: shape ``(size,)`` bytes.
    """

    status: int
    body: bytes


class Server:
    """A running tsl.

    Attributes:
        process: the front end.
        pid: its process id.
        port: of the inference API.
        management_port: of the management API.
        started_at: ``time.perf_counter()`` seconds when the process was launched.
    """

    def __init__(self, process: subprocess.Popen[bytes], ports: list[int], folder: Path) -> None:
        self.started_at = time.perf_counter()
        self.process = process
        self.pid = process.pid
        self.port, self.management_port = ports[:2]
        self._folder = folder

    def url(self, model: str) -> str:
        """Where to predict."""
        return f"http://{HOST}:{self.port}/predictions/{model}"

    def key(self, name: str = "inference") -> str:
        """A key of the server, "" when it runs without tokens."""
        try:
            keys = json.loads((self._folder / "key_file.json").read_text(encoding="utf-8"))
        except FileNotFoundError:
            return ""
        return str(keys[name]["key"])

    def predict(self, model: str, body: bytes) -> Answer:
        """One prediction on a connection of its own.

        Raises:
            OSError: nobody listens.
        """
        headers = {"Content-Type": "application/octet-stream"}
        return self._ask("POST", self.port, f"/predictions/{model}", self.key(), body, headers)

    def manage(self, method: str, path: str) -> Any:
        """One call of the management API.

        Raises:
            SystemExit: it was refused.
        """
        answer = self._ask(method, self.management_port, path, self.key("management"), b"", {})
        if answer.status >= 300:
            msg = f"{method} {path}: {answer.status} {answer.body!r}"
            raise SystemExit(msg)
        return json.loads(answer.body)

    def wait_for_answer(self, model: str, body: bytes) -> None:
        """Return as soon as a model answers for the first time.

        Raises:
            SystemExit: it does not, within a minute.
        """
        deadline = time.monotonic() + _START_S
        said: object = "nothing"
        while time.monotonic() < deadline and self.process.poll() is None:
            try:
                answer = self.predict(model, body)
            except (OSError, http.client.HTTPException) as error:
                said = error
            else:
                if answer.status == 200:
                    return
                said = answer
            time.sleep(_RETRY_S)
        errors = (self._folder / "stderr").read_text(encoding="utf-8", errors="replace")
        msg = f"the server does not serve {model} ({said}); its stderr:\n{errors}"
        raise SystemExit(msg)

    def _ask(
        self, method: str, port: int, path: str, key: str, body: bytes, headers: dict[str, str]
    ) -> Answer:
        if key:
            headers["Authorization"] = f"Bearer {key}"
        with contextlib.closing(http.client.HTTPConnection(HOST, port, timeout=30)) as connection:
            connection.request(method, path, body, headers)
            response = connection.getresponse()
            return Answer(response.status, response.read())


@contextlib.contextmanager
def serving(models: Iterable[Archive]) -> Iterator[Server]:
    """Run a server with these models; it may still be loading them when the block begins."""
    with tempfile.TemporaryDirectory(prefix="tsl-bench-") as name:
        folder = Path(name)
        store = folder / "store"
        store.mkdir()
        for model in models:
            model.write_archive(store)
        ports = free_ports(5)
        config = folder / "config.properties"
        config.write_text(
            f"inference_address=http://{HOST}:{ports[0]}\n"
            f"management_address=http://{HOST}:{ports[1]}\n"
            f"metrics_address=http://{HOST}:{ports[2]}\n"
            f"grpc_inference_port={ports[3]}\n"
            f"grpc_management_port={ports[4]}\n"
            f"job_queue_size={QUEUE_JOBS}\n",
            encoding="utf-8",
        )
        argv = [sys.executable, "-m", "tsl.cli", "start", "--foreground", "--models", "all"]
        argv += ["--model-store", str(store), "--ts-config", str(config)]
        with running(
            argv, cwd=folder, environ={"TMPDIR": name}, errors=folder / "stderr"
        ) as process:
            yield Server(process, ports, folder)
