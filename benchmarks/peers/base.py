"""What a server of the comparison is: how it is started, how it is asked."""

from __future__ import annotations

import abc
import contextlib
import http.client
import os
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from pathlib import Path
from typing import Any, Final

import grpc

from ..archives import SERVICES, WORK, classifier_files
from ..processes import ROOT, Tree, free_ports, running

HOST: Final = "127.0.0.1"
QUEUE_JOBS: Final = 4096
"""Places in the queue, where a server lets one say: a refusal would be right otherwise."""

MAX_BODY: Final = 64 * 1024 * 1024

PEERS_VARIABLE: Final = "TSL_BENCH_PEERS"
_START_S: Final = 120.0
_RETRY_S: Final = 0.005
_ASK_S: Final = 120.0


class Work(Enum):
    """What is done with a request."""

    ECHO = "echo"
    """The body, back as it was."""
    STREAM = "stream"
    """As many chunks as the body says."""
    CLASSIFY = "classify"
    """Five classes of a picture."""
    TENSOR = "tensor"
    """A tensor by the Open Inference Protocol, back as it was."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Service:
    """What is served: the same for every peer.

    Attributes:
        work: what is done.
        batch_size: requests that share a call at most.
        delay_ms: how long a batch waits for more of them.
        workers: processes that do it.
        models: names under which it is registered; only the first has workers.
    """

    work: Work = Work.ECHO
    batch_size: int = 1
    delay_ms: int = 0
    workers: int = 1
    models: int = 1

    def environ(self) -> dict[str, str]:
        """As `work.py` reads it."""
        return {
            "BENCH_WORK": self.work.value,
            "BENCH_BATCH": str(self.batch_size),
            "BENCH_DELAY_MS": str(self.delay_ms),
            "BENCH_WORKERS": str(self.workers),
        }


def as_it_is(body: bytes) -> bytes:
    """For servers that take and give plain bytes."""
    return body


@dataclass(frozen=True, slots=True, kw_only=True)
class Launch:
    """How to start one server, and how to ask it.

    Attributes:
        argv: command line.
        port: where it will listen.
        path: request target of a prediction.
        environ: added to the environment.
        content_type: of requests.
        headers: others, known only when the server runs, such as its token.
        encode: from the work's body to the request's.
        decode: from the response's body to the work's answer.
        manage: asks the management API, where there is one: method, path → document.
        grpc_port: where it will listen for gRPC; 0 for nowhere.
    """

    argv: Sequence[str]
    port: int
    path: str
    environ: Mapping[str, str] = field(default_factory=dict)
    content_type: str = "application/octet-stream"
    headers: Callable[[], dict[str, str]] = dict
    encode: Callable[[bytes], bytes] = as_it_is
    decode: Callable[[bytes], bytes] = as_it_is
    manage: Callable[[str, str], Any] | None = None
    grpc_port: int = 0


@dataclass(frozen=True, slots=True)
class Answer:
    """What a server said.

    Attributes:
        status: HTTP status.
        body: of the response.
    """

    status: int
    body: bytes


class Running:
    """A server that has been started.

    Attributes:
        peer: name of what it is.
        launch: how it was started.
        process: the one that was started; others may be below it.
        tree: it and all below it.
        started_at: ``time.perf_counter()`` seconds of that moment.
        answered_at: the moment of the first right answer.
        answer_size: bytes of the body of the latest answer.
    """

    def __init__(
        self, peer: str, launch: Launch, process: subprocess.Popen[bytes], errors: Path
    ) -> None:
        self.started_at = time.perf_counter()
        self.peer = peer
        self.launch = launch
        self.process = process
        self.tree = Tree(process.pid)
        self.answered_at = 0.0
        self.answer_size = 0
        self._errors = errors

    @property
    def url(self) -> str:
        """Where to predict."""
        return f"http://{HOST}:{self.launch.port}{self.launch.path}"

    def headers(self) -> dict[str, str]:
        """Of a prediction."""
        return {"Content-Type": self.launch.content_type, **self.launch.headers()}

    def ask(self, body: bytes, headers: Mapping[str, str] | None = None) -> Answer:
        """One prediction on a connection of its own.

        Args:
            body: of the work; encoded as this server wants it.
            headers: besides the server's own.

        Raises:
            OSError: nobody listens.
            http.client.HTTPException: what came is not HTTP.
        """
        connection = http.client.HTTPConnection(HOST, self.launch.port, timeout=_ASK_S)
        with contextlib.closing(connection):
            content = self.launch.encode(body)
            connection.request(
                "POST", self.launch.path, content, {**self.headers(), **(headers or {})}
            )
            response = connection.getresponse()
            answer = response.read()
        self.answer_size = len(answer)
        if response.status != 200:
            return Answer(response.status, answer)
        return Answer(response.status, self.launch.decode(answer))

    def call(self, method: str, message: bytes) -> Answer:
        """One call of gRPC, by gRPC's own client; an error has its status in gRPC.

        Args:
            method: ``/package.Service/Method``.
            message: of the request.
        """
        metadata = tuple(self.metadata().items())
        with grpc.insecure_channel(f"{HOST}:{self.launch.grpc_port}") as channel:
            call: Any = channel.unary_unary(method)
            try:
                answer = bytes(call(message, timeout=_ASK_S, metadata=metadata))
            except grpc.RpcError as error:
                return Answer(error.code().value[0], str(error).encode())
        self.answer_size = len(answer)
        return Answer(200, answer)

    def metadata(self) -> dict[str, str]:
        """Of a call of gRPC."""
        return {name.lower(): value for name, value in self.launch.headers().items()}

    def wait_for_answer(
        self, body: bytes, headers: Mapping[str, str] | None = None, *, method: str = ""
    ) -> Answer:
        """The first answer with status 200.

        Args:
            body: of the work; for gRPC the message.
            headers: besides the server's own.
            method: of gRPC, "" for HTTP.

        Raises:
            SystemExit: there is none within two minutes.
        """
        deadline = time.monotonic() + _START_S
        said: object = "nothing"
        while time.monotonic() < deadline and self.process.poll() is None:
            try:
                answer = self.call(method, body) if method else self.ask(body, headers)
            except (OSError, ValueError, KeyError, http.client.HTTPException) as error:
                said = error
            else:
                if answer.status == 200:
                    self.answered_at = time.perf_counter()
                    return answer
                said = answer
            time.sleep(_RETRY_S)
        errors = self._errors.read_text(encoding="utf-8", errors="replace")[-4000:]
        code = self.process.poll()
        state = "runs" if code is None else f"has ended with {code}"
        raise SystemExit(
            f"{self.peer} {state} but does not serve ({said}); its stderr ends with:\n{errors}"
        )


class Peer(abc.ABC):
    """A server of the comparison.

    Attributes:
        name: for the command line.
        title: for tables.
        distribution: whose version tells what was measured.
        works: what it can be asked to do in this benchmark.
    """

    name: str
    title: str
    distribution: str
    works: frozenset[Work] = frozenset({Work.ECHO, Work.STREAM, Work.CLASSIFY})

    @property
    def folder(self) -> Path:
        """Its virtual environment, as ``scripts/bench_peers`` makes it."""
        return Path(os.environ.get(PEERS_VARIABLE, ROOT / ".peers")) / self.name

    @property
    def python(self) -> str:
        """Its interpreter."""
        return str(self.folder / "bin" / "python")

    def is_installed(self) -> bool:
        """Whether it can be measured here."""
        return Path(self.python).exists()

    def version(self) -> str:
        """Of its distribution, "" when it is not installed."""
        if not self.is_installed():
            return ""
        code = f"import importlib.metadata as m; print(m.version({self.distribution!r}))"
        done = subprocess.run([self.python, "-c", code], capture_output=True, text=True, check=True)
        return done.stdout.strip()

    def serves(self, service: Service) -> bool:
        """Whether it can take part."""
        return service.work in self.works and service.models == 1

    @abc.abstractmethod
    def launch(self, service: Service, folder: Path) -> Launch:
        """Prepare what it needs in an empty folder, which will be its working folder."""

    @contextlib.contextmanager
    def start(self, service: Service, folder: Path) -> Iterator[Running]:
        """Run it; it may still be loading when the block begins.

        Args:
            service: what to serve.
            folder: an empty one.
        """
        launch = self.launch(service, folder)
        errors = folder / "stderr"
        environ = {**service.environ(), "TMPDIR": str(folder), **launch.environ}
        with running(launch.argv, cwd=folder, environ=environ, errors=errors) as process:
            yield Running(self.name, launch, process, errors)


class ServicePeer(Peer):
    """A peer whose service is one file of `services`, run by its own Python.

    Attributes:
        script: that file.
        route: where it answers.
    """

    script: str
    route: str = "/predict"

    def launch(self, service: Service, folder: Path) -> Launch:
        """Copy the files, and choose a port."""
        (port,) = free_ports(1)
        copy_services(folder, self.script)
        environ = {"BENCH_PORT": str(port), **classifier_environ(service, folder)}
        return self.configured(service, folder, port, environ)

    def configured(
        self, service: Service, folder: Path, port: int, environ: Mapping[str, str]
    ) -> Launch:
        """The command; most need nothing but their script."""
        del service, folder
        return Launch(argv=[self.python, self.script], port=port, path=self.route, environ=environ)


def copy_services(folder: Path, *names: str) -> None:
    """Put files of `services`, and the work, where a server is started."""
    for file in (WORK, *(SERVICES / name for name in names)):
        (folder / file.name).write_bytes(file.read_bytes())


def classifier_environ(service: Service, folder: Path) -> dict[str, str]:
    """Lay out the classifier's files, if they are wanted, and say where they are."""
    if service.work is not Work.CLASSIFY:
        return {}
    target = folder / "classifier"
    target.mkdir()
    for name, content in classifier_files().items():
        if isinstance(content, Path):
            (target / name).symlink_to(content)
        else:
            (target / name).write_bytes(content)
    return {"BENCH_MODEL": str(target)}
