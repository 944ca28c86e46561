"""The peers that speak the Open Inference Protocol only: Triton and MLServer."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import Final

from ..processes import free_ports
from .base import (
    HOST,
    Launch,
    Peer,
    Service,
    Work,
    as_it_is,
    classifier_environ,
    copy_services,
)
from .encodings import (
    HEAD_SIZE,
    from_tensor_binary,
    from_tensor_text,
    tensor_base64,
    tensor_binary,
    tensor_text,
)

BINARY_HEAD: Final = "Inference-Header-Content-Length"
_JSON: Final = "application/json"
_PATH: Final = "/v2/models/model/infer"
_STREAM_PATH: Final = "/v2/models/model/generate_stream"


class Triton(Peer):
    """NVIDIA's server with its python backend, from the binary that nvidia-pytriton carries.

    Bodies travel as binary tensors, which is the quickest way in.
    """

    name = "triton"
    title = "Triton"
    distribution = "nvidia-pytriton"
    works = frozenset(Work)

    def launch(self, service: Service, folder: Path) -> Launch:
        """Lay out a model repository, and the backend beside the stub of this Python."""
        ports = free_ports(3)
        site = next(self.folder.glob("lib/python3.*/site-packages"))
        server = site / "pytriton" / "tritonserver"
        backend = folder / "backends" / "python"
        backend.mkdir(parents=True)
        stub = server / "python_backend_stubs" / site.parent.name.removeprefix("python")
        for file in (*(server / "backends" / "python").iterdir(), *stub.iterdir()):
            (backend / file.name).symlink_to(file)
        version = folder / "repository" / "model" / "1"
        version.mkdir(parents=True)
        copy_services(folder, "triton_service.py")
        (folder / "triton_service.py").rename(version / "model.py")
        (version.parent / "config.pbtxt").write_text(model_config(service), encoding="utf-8")
        argv = [str(server / "bin" / "tritonserver")]
        argv += ["--model-repository", str(folder / "repository")]
        argv += ["--backend-directory", str(folder / "backends")]
        argv += ["--http-address", HOST, "--http-port", str(ports[0])]
        argv += ["--grpc-address", HOST, "--grpc-port", str(ports[1])]
        argv += ["--metrics-address", HOST, "--metrics-port", str(ports[2])]
        environ = {
            "BENCH_SERVICES": str(folder),
            "LD_LIBRARY_PATH": str(site / "nvidia_pytriton.libs"),
            "PYTHONPATH": str(site),
            "PATH": f"{self.folder / 'bin'}:{os.environ['PATH']}",
            **classifier_environ(service, folder),
        }
        launch = Launch(argv=argv, port=ports[0], path=_PATH, environ=environ, grpc_port=ports[1])
        if service.work is Work.STREAM:
            return replace(launch, path=_STREAM_PATH, content_type=_JSON, encode=generate_request)
        is_tensor = service.work is Work.TENSOR
        return replace(
            launch,
            content_type=_JSON if is_tensor else launch.content_type,
            headers=dict if is_tensor else lambda: {BINARY_HEAD: str(HEAD_SIZE)},
            encode=as_it_is if is_tensor else tensor_binary,
            decode=as_it_is if is_tensor else from_tensor_binary,
        )


def generate_request(body: bytes) -> bytes:
    """A request of Triton's generate extension."""
    return json.dumps({"INPUT0": body.decode()}).encode()


def model_config(service: Service) -> str:
    """``config.pbtxt``: one input, one output, batches as they are wanted."""
    datatype, size = ("FP32", -1) if service.work is Work.TENSOR else ("STRING", 1)
    tensor = f"data_type: TYPE_{datatype}, dims: [{size}]"
    decoupled = str(service.work is Work.STREAM).lower()
    batching = ""
    if service.batch_size > 1:
        delay_us = service.delay_ms * 1000
        batching = f"dynamic_batching {{ max_queue_delay_microseconds: {delay_us} }}\n"
    return (
        'backend: "python"\n'
        f"max_batch_size: {service.batch_size}\n"
        f'input [ {{ name: "INPUT0", {tensor} }} ]\n'
        f'output [ {{ name: "OUTPUT0", {tensor} }} ]\n'
        f"instance_group [ {{ count: {service.workers}, kind: KIND_CPU }} ]\n"
        f"model_transaction_policy {{ decoupled: {decoupled} }}\n"
        f"{batching}"
    )


class MlServer(Peer):
    """Seldon's server in Python."""

    name = "mlserver"
    title = "MLServer"
    distribution = "mlserver"
    works = frozenset({Work.ECHO, Work.CLASSIFY, Work.TENSOR})

    def launch(self, service: Service, folder: Path) -> Launch:
        """Write its two files of settings."""
        ports = free_ports(3)
        copy_services(folder, "mlserver_service.py")
        settings = {
            "host": HOST,
            "http_port": ports[0],
            "grpc_port": ports[1],
            "metrics_port": ports[2],
            "parallel_workers": service.workers,
            "debug": False,
        }
        model = {
            "name": "model",
            "implementation": "mlserver_service.Bench",
            "max_batch_size": service.batch_size,
            "max_batch_time": service.delay_ms / 1000,
        }
        for name, document in (("settings.json", settings), ("model-settings.json", model)):
            (folder / name).write_text(json.dumps(document), encoding="utf-8")
        texts = {
            Work.ECHO: (tensor_text, from_tensor_text),
            Work.CLASSIFY: (tensor_base64, from_tensor_text),
        }
        encode, decode = texts.get(service.work, (as_it_is, as_it_is))
        return Launch(
            argv=[str(self.folder / "bin" / "mlserver"), "start", "."],
            port=ports[0],
            path=_PATH,
            environ={"PYTHONPATH": str(folder), **classifier_environ(service, folder)},
            content_type=_JSON,
            encode=encode,
            decode=decode,
        )
