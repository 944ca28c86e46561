"""How many gRPC calls per second, beside TorchServe and beside gRPC's own library?

One tsl server with one worker per model, and in the same rounds whatever it is compared with.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import socket
import statistics
import struct
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import grpc

from tsl.frontend.grpc_api.protos import inference_pb2, open_inference_pb2

from .. import machine
from ..archives import write_archive
from ..processes import ROOT, cpu_seconds, exit_on_sigterm, free_ports, running
from ..report import table
from .h2load import Calls, check_installed, run_h2load

PREDICT: Final = "/org.pytorch.serve.grpc.inference.InferenceAPIsService/Predictions"
INFER: Final = "/inference.GRPCInferenceService/ModelInfer"
HOST: Final = "127.0.0.1"
QUEUE_JOBS: Final = 4096
_ONE: Final = {"minWorkers": 1, "maxWorkers": 1}
MODELS: Final[Mapping[str, tuple[str, Mapping[str, int | str]]]] = {
    "b1": ("echo.py", _ONE),
    "b32": ("echo.py", {**_ONE, "batchSize": 32, "maxBatchDelay": 1}),
    "identity": ("tensor.py", {**_ONE, "inputFormat": "tensors", "maxBatchDelay": 1}),
}
_START_S: Final = 120.0


def _predictions(name: str) -> tuple[str, bytes, bytes]:
    body = b"x" * 100
    request = inference_pb2.PredictionsRequest(model_name=name, input={"body": body})
    answer = inference_pb2.PredictionResponse(prediction=body)
    return PREDICT, request.SerializeToString(), answer.SerializeToString()


def _infer() -> tuple[str, bytes, bytes]:
    request = open_inference_pb2.ModelInferRequest(model_name="identity", id="1")
    request.inputs.add(name="INPUT0", datatype="FP32", shape=[1, 16])
    request.raw_input_contents.append(bytes(range(64)))
    answer = open_inference_pb2.ModelInferResponse(
        model_name="identity", model_version="1.0", id="1", raw_output_contents=[bytes(range(64))]
    )
    answer.outputs.add(name="OUTPUT0", datatype="FP32", shape=[1, 16])
    return INFER, request.SerializeToString(), answer.SerializeToString()


SCENARIOS: Final = {
    "predictions-b1": _predictions("b1"),
    "predictions-b32": _predictions("b32"),
    "identity": _infer(),
}


@dataclass(slots=True)
class Target:
    """A method on a server.

    Attributes:
        name: of the row.
        port: of the server.
        pid: of the process that listens.
        path: of the method.
        request: message without prefix.
        answer: the right one, without prefix.
        calls: what came out, by number of clients.
        cpu_us: processor time of the listening process for a call, by number of clients.
    """

    name: str
    port: int
    pid: int
    path: str
    request: bytes
    answer: bytes
    calls: dict[int, list[Calls]] = field(default_factory=dict)
    cpu_us: dict[int, list[float]] = field(default_factory=dict)

    def answers(self) -> bytes:
        """Call once, by gRPC's own client."""
        with grpc.insecure_channel(f"{HOST}:{self.port}") as channel:
            call: Any = channel.unary_unary(self.path)
            return bytes(call(self.request, timeout=30))

    def check(self) -> None:
        """Call until the right answer comes.

        Raises:
            SystemExit: it does not.
        """
        deadline = time.monotonic() + _START_S
        said: object = None
        while time.monotonic() < deadline:
            try:
                said = self.answers()
            except grpc.RpcError as error:
                said = error
            if said == self.answer:
                return
            time.sleep(0.1)
        raise SystemExit(f"{self.name}: wrong answer: {said!r}")

    def measure(self, folder: Path, clients: int, seconds: float) -> None:
        """Load it once, and keep what came out."""
        body = folder / f"{self.name}.body".replace("/", "-")
        body.write_bytes(b"\0" + struct.pack(">I", len(self.request)) + self.request)
        before_s = cpu_seconds(self.pid)
        calls = run_h2load(
            f"http://{HOST}:{self.port}{self.path}",
            body,
            len(self.answer) + 5,
            clients=clients,
            streams=1,
            seconds=seconds,
        )
        cpu_us = (cpu_seconds(self.pid) - before_s) / calls.count * 1e6
        self.calls.setdefault(clients, []).append(calls)
        self.cpu_us.setdefault(clients, []).append(cpu_us)


@contextlib.contextmanager
def _targets(names: list[str], torchserve: Path | None, *, bare: bool) -> Iterator[list[Target]]:
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tsl-bench-grpc-")))
        argv = [sys.executable, "-m", "tsl.cli", "start", "--foreground", "--ncs"]
        port, pid = stack.enter_context(_server(argv, folder / "tsl", list(MODELS)))
        targets = [Target(name, port, pid, *SCENARIOS[name]) for name in names]
        if bare:
            for kind in ("aio", "threads"):
                [port] = free_ports(1)
                argv = [sys.executable, "-m", "benchmarks.load.grpc_bare", "--kind", kind]
                argv += ["--port", str(port)]
                process = stack.enter_context(running(argv, cwd=ROOT, errors=folder / kind))
                path, request, _ = SCENARIOS["predictions-b1"]
                targets.append(Target(f"grpcio, {kind}", port, process.pid, path, request, request))
        if torchserve is not None:
            argv = [str(torchserve), "--start", "--foreground", "--ncs"]
            port, pid = stack.enter_context(_server(argv, folder / "torchserve", ["b1", "b32"]))
            targets += [
                Target(f"TorchServe, {name}", port, pid, *SCENARIOS[name])
                for name in names
                if name != "identity"
            ]
        for target in targets:
            target.check()
        yield targets


@contextlib.contextmanager
def _server(argv: list[str], home: Path, models: list[str]) -> Iterator[tuple[int, int]]:
    """Start a server in a folder of its own; yields its gRPC port and its process."""
    store = home / "store"
    store.mkdir(parents=True)
    for name in models:
        write_archive(store / f"{name}.mar", *MODELS[name])
    ports = free_ports(6)
    config = home / "config.properties"
    names = ("inference_address", "management_address", "metrics_address")
    lines = [f"{name}=http://{HOST}:{port}" for name, port in zip(names, ports[:3], strict=True)]
    lines += [f"grpc_inference_port={ports[3]}", f"grpc_management_port={ports[4]}"]
    lines += [f"job_queue_size={QUEUE_JOBS}", "disable_token_authorization=true"]
    lines += [f"initial_worker_port={ports[5] - 64}"]
    config.write_text("\n".join(lines), encoding="utf-8")
    argv += ["--ts-config", str(config), "--model-store", str(store), "--models"]
    argv += [f"{name}.mar" for name in models]
    environ = {"TMPDIR": str(home), "JAVA_TOOL_OPTIONS": f"-Djava.io.tmpdir={home}"}
    with running(argv, cwd=home, environ=environ, errors=home / "stderr") as process:
        deadline = time.monotonic() + _START_S
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError), socket.create_connection((HOST, ports[3]), 1):
                break
            time.sleep(0.2)
        yield ports[3], process.pid


def run(
    names: list[str],
    clients: list[int],
    *,
    rounds: int,
    seconds: float,
    torchserve: Path | None,
    bare: bool,
) -> list[dict[str, Any]]:
    """Measure.

    Returns:
        One entry per target and number of clients.
    """
    os.environ["TS_OPEN_INFERENCE_PROTOCOL"] = "oip"
    with (
        tempfile.TemporaryDirectory(prefix="tsl-bench-grpc-") as name,
        _targets(names, torchserve, bare=bare) as targets,
    ):
        for target in targets:
            target.measure(Path(name), min(clients), 1)
            target.calls.clear()
            target.cpu_us.clear()
        for _ in range(rounds):
            for count in clients:
                for target in targets:
                    target.measure(Path(name), count, seconds)
        for target in targets:
            target.check()
        return [
            {
                "name": target.name,
                "clients": count,
                "rates": [one.rate for one in calls],
                "mean_us": [one.mean_us for one in calls],
                "cpu_us": target.cpu_us[count],
                "errors": sum(one.errors for one in calls),
            }
            for target in targets
            for count, calls in target.calls.items()
        ]


def main() -> int:
    """Run from the command line.

    Returns:
        1 when any answer was wrong, else 0.
    """
    parser = argparse.ArgumentParser(prog="python -m benchmarks.load.grpc_run", description=__doc__)
    parser.add_argument("--scenarios", nargs="+", choices=SCENARIOS, default=list(SCENARIOS))
    parser.add_argument("--clients", nargs="+", type=int, default=[64])
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=3.0, help="per measurement, default 3")
    parser.add_argument("--torchserve", type=Path, help="its program, to measure it, too")
    parser.add_argument("--bare", action="store_true", help="measure bare servers of grpcio, too")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also keep all numbers")
    options = parser.parse_args()
    check_installed()
    exit_on_sigterm()
    entries = run(
        options.scenarios,
        options.clients,
        rounds=options.rounds,
        seconds=options.seconds,
        torchserve=options.torchserve,
        bare=options.bare,
    )
    if options.json:
        document = machine.describe() | {"grpc": entries}
        options.json.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")
    rows = [
        [
            entry["name"],
            str(entry["clients"]),
            f"{statistics.median(entry['rates']):,.0f}",
            f"{min(entry['rates']):,.0f}-{max(entry['rates']):,.0f}",
            f"{statistics.median(entry['mean_us']):,.0f}",
            f"{statistics.median(entry['cpu_us']):,.0f}",
            str(entry["errors"]),
        ]
        for entry in entries
    ]
    print(table(["", "clients", "calls/s", "min-max", "mean µs", "CPU µs", "errors"], rows))
    return int(any(entry["errors"] for entry in entries))


if __name__ == "__main__":
    try:
        sys.exit(main())
    except KeyboardInterrupt:
        sys.exit(130)
