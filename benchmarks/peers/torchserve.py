"""tsl and TorchServe: the same archives, the same configuration, another command."""

from __future__ import annotations

import http.client
import json
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from importlib import metadata
from pathlib import Path
from typing import Any, Final

from ..archives import classifier_files, write_archive
from ..byte_code import compile_sources
from ..processes import free_ports
from .base import HOST, MAX_BODY, QUEUE_JOBS, Launch, Peer, Service, Work

MODEL: Final = "model"
_HANDLERS: Final = {
    Work.ECHO: "echo.py",
    Work.STREAM: "stream.py",
    Work.CLASSIFY: "classify.py",
    Work.TENSOR: "tensor.py",
}
_MANAGE_S: Final = 120.0


class TorchServe(Peer):
    """TorchServe, with all defaults on but for a longer queue and bigger bodies."""

    name = "torchserve"
    title = "TorchServe"
    distribution = "torchserve"

    def serves(self, service: Service) -> bool:
        """It registers as many models as one likes."""
        return service.work in self.works

    def command(self) -> list[str]:
        """The program, without the options that both share."""
        return [str(self.folder / "bin" / "torchserve"), "--start", "--foreground"]

    def launch(self, service: Service, folder: Path) -> Launch:
        """Write the archives and ``config.properties``."""
        store = folder / "store"
        store.mkdir()
        self.write_models(service, store)
        ports = free_ports(5)
        (folder / "config.properties").write_text(
            f"inference_address=http://{HOST}:{ports[0]}\n"
            f"management_address=http://{HOST}:{ports[1]}\n"
            f"metrics_address=http://{HOST}:{ports[2]}\n"
            f"grpc_inference_port={ports[3]}\n"
            f"grpc_management_port={ports[4]}\n"
            "enable_model_api=true\n"
            f"job_queue_size={QUEUE_JOBS}\n"
            f"max_request_size={MAX_BODY}\n"
            f"max_response_size={MAX_BODY}\n",
            encoding="utf-8",
        )
        argv = [*self.command(), "--ncs", "--models", f"{MODEL}={MODEL}.mar"]
        argv += ["--model-store", str(store), "--ts-config", str(folder / "config.properties")]
        tokens = Tokens(folder)
        return Launch(
            argv=argv,
            port=ports[0],
            path=self.path(service),
            environ=self.environ(folder),
            headers=lambda: tokens.header("inference"),
            manage=Management(ports[1], tokens),
            grpc_port=ports[3],
        )

    def path(self, service: Service) -> str:
        """Request target of a prediction."""
        del service
        return f"/predictions/{MODEL}"

    def environ(self, folder: Path) -> Mapping[str, str]:
        """Its launcher needs its own Python first, for the workers."""
        return {
            "PATH": f"{self.folder / 'bin'}:/usr/local/bin:/usr/bin:/bin",
            "LOG_LOCATION": str(folder / "logs"),
            "METRICS_LOCATION": str(folder / "logs"),
        }

    def write_models(self, service: Service, store: Path) -> None:
        """Write the archive."""
        settings: dict[str, Any] = {
            "minWorkers": service.workers,
            "maxWorkers": max(8, service.workers),
            "batchSize": service.batch_size,
            "maxBatchDelay": service.delay_ms,
            "responseTimeout": 120,
        }
        if service.work is Work.TENSOR:
            settings["inputFormat"] = "tensors"
        files = classifier_files() if service.work is Work.CLASSIFY else {}
        write_archive(store / f"{MODEL}.mar", _HANDLERS[service.work], settings, files)


class Tsl(TorchServe):
    """This checkout: tokens, metrics and access log on, as they are by default."""

    name = "tsl"
    title = "tsl"
    distribution = "tsl"
    works = frozenset(Work)

    @property
    def python(self) -> str:
        """The interpreter that runs the benchmark."""
        return sys.executable

    def version(self) -> str:
        """Of the installed distribution."""
        return metadata.version("tsl")

    def command(self) -> list[str]:
        """Of this checkout."""
        return [sys.executable, "-m", "tsl.cli", "start", "--foreground"]

    def launch(self, service: Service, folder: Path) -> Launch:
        """Tensors by gRPC need the Open Inference Protocol to be switched on."""
        launch = super().launch(service, folder)
        if service.work is not Work.TENSOR:
            return launch
        return replace(launch, environ={**launch.environ, "TS_OPEN_INFERENCE_PROTOCOL": "oip"})

    def path(self, service: Service) -> str:
        """Tensors travel by the Open Inference Protocol."""
        return f"/v2/models/{MODEL}/infer" if service.work is Work.TENSOR else super().path(service)

    def environ(self, folder: Path) -> Mapping[str, str]:
        """Nothing is special, but that the sources are compiled, as pip has done for the others."""
        del folder
        compile_sources()
        return {}


class Tokens:
    """The keys that a server writes into its working folder.

    Args:
        folder: that one.
    """

    def __init__(self, folder: Path) -> None:
        self._file = folder / "key_file.json"

    def header(self, name: str) -> dict[str, str]:
        """The header with a key; none when the server runs without tokens.

        Args:
            name: ``inference`` or ``management``.
        """
        try:
            keys = json.loads(self._file.read_text(encoding="utf-8"))
        except FileNotFoundError:
            return {}
        return {"Authorization": f"Bearer {keys[name]['key']}"}


class Management:
    """Calls of the management API.

    Args:
        port: where it listens.
        tokens: whose key it wants.
    """

    def __init__(self, port: int, tokens: Tokens) -> None:
        self._port = port
        self._tokens = tokens

    def __call__(self, method: str, path: str) -> Any:
        """One call.

        Raises:
            SystemExit: it was refused.
        """
        connection = http.client.HTTPConnection(HOST, self._port, timeout=_MANAGE_S)
        try:
            connection.request(method, path, b"", self._tokens.header("management"))
            response = connection.getresponse()
            body = response.read()
        finally:
            connection.close()
        if response.status >= 300:
            raise SystemExit(f"{method} {path}: {response.status} {body!r}")
        return json.loads(body)


def peers() -> Sequence[Peer]:
    """Both."""
    return (Tsl(), TorchServe())
