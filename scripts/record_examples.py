#!/usr/bin/env python3
"""Record what TorchServe answers for the examples of tests/data/examples.

Needs TorchServe 0.12, its archiver, Java, torch, captum and requests, and no tsl. Archives are made
by TorchServe's archiver; with --archives, by somebody else, which shows that those can be served,
too: nothing is written then, differences are printed.
"""

from __future__ import annotations

import argparse
import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import requests

ROOT = Path(__file__).parent.parent
sys.path.insert(0, str(ROOT / "tests"))

from example_table import ENVELOPE_EXAMPLES, EXAMPLES  # noqa: E402
from examples import EXPECTED, Example, amend_manifest, differences, play, write_sources  # noqa: E402

START_S = 120


def main() -> int:
    """Record, or compare."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--bin", type=Path, required=True, help="folder with torchserve")
    parser.add_argument("--archives", type=Path, help="folder with archives made by others")
    parser.add_argument("--only", help="record this example, or this envelope, alone")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        found = {}
        for envelope, group in groups(options.only).items():
            work = folder / f"envelope-{envelope}"
            work.mkdir()
            store = options.archives or work / "store"
            if options.archives is None:
                pack(options.bin, group, work / "sources", store)
            found.update(record(options.bin, group, envelope, store.resolve(), work))
    expected = json.loads(EXPECTED.read_text()) if EXPECTED.exists() else {}
    for name, answers in found.items():
        if name not in expected:
            print(f"{name}: new")
        else:
            print(*differences(expected[name], answers, name), sep="\n")
    if options.archives is None:
        text = json.dumps({**expected, **found}, indent=1, sort_keys=True)
        EXPECTED.write_text(f"{text}\n")
    return 0


def groups(only: str | None) -> dict[str, list[Example]]:
    """The chosen examples; those with an envelope need a server that is configured so."""
    found: dict[str, list[Example]] = {}
    for example in (*EXAMPLES, *ENVELOPE_EXAMPLES):
        if only in (None, example.name, example.envelope):
            found.setdefault(example.envelope, []).append(example)
    return found


def pack(folder: Path, chosen: Sequence[Example], sources: Path, store: Path) -> None:
    """Make the archives with TorchServe's archiver."""
    store.mkdir()
    staging = sources / ".staging"  # the archiver wipes a folder of the model's name there
    staging.mkdir(parents=True)
    for example in chosen:
        command = [str(folder / "torch-model-archiver"), "--export-path", str(store)]
        for name, value in write_sources(example, sources / example.name).items():
            command += [f"--{name.replace('_', '-')}", value]
        subprocess.run(command, check=True, env={**os.environ, "TMPDIR": str(staging)})
        if example.manifest:
            amend_manifest(store / f"{example.name}.mar", example.manifest)


def record(
    folder: Path, chosen: Sequence[Example], envelope: str, store: Path, work: Path
) -> dict[str, Any]:
    """Start TorchServe, and ask it; one model at a time, because a worker takes much memory."""
    ports = free_ports(6)
    config = work / "config.properties"
    names = ("inference", "management", "metrics")
    addresses = {name: f"http://127.0.0.1:{port}" for name, port in zip(names, ports, strict=False)}
    lines = [f"{name}_address={url}" for name, url in addresses.items()]
    lines += [f"grpc_inference_port={ports[3]}", f"grpc_management_port={ports[4]}"]
    lines += ["disable_token_authorization=true", "enable_model_api=true", "number_of_gpu=0"]
    lines += [f"initial_worker_port={ports[5]}", "disable_system_metrics=true"]
    if envelope:
        lines.append(f"service_envelope={envelope}")
    config.write_text("\n".join(lines) + "\n")
    log = (work / "log.txt").open("w")
    command = [folder / "torchserve", "--start", "--foreground", "--ncs"]
    command += ["--ts-config", config, "--model-store", store]
    env = {**os.environ, "TMPDIR": str(work), "TEMP": str(work)}
    server = subprocess.Popen(
        [str(word) for word in command], cwd=work, env=env, stdout=log, stderr=log
    )
    try:
        wait(addresses["inference"])
        found = {}
        for example in chosen:
            found[example.key] = ask(example, addresses, work)
            print(f"{example.key}: done", file=sys.stderr)
        return found
    finally:
        stop = [str(folder / "torchserve"), "--stop", "--foreground"]
        subprocess.run(stop, env=env, cwd=work, check=False, stdout=log, stderr=log)
        server.terminate()
        server.wait(30)


def ask(example: Example, addresses: Mapping[str, str], work: Path) -> Any:
    """Register one model, ask it, and take it away."""
    models = f"{addresses['management']}/models"
    order = {"url": f"{example.name}.mar", "initial_workers": "1", "synchronous": "true"}
    answer = requests.post(models, params=order, timeout=300)
    if answer.status_code != 200:
        print(f"{example.name}: {answer.text}\n{(work / 'log.txt').read_text()[-5000:]}")
        return {}
    try:
        return play(example, addresses)
    except requests.RequestException as error:
        print(f"{example.name}: {error}\n{(work / 'log.txt').read_text()[-5000:]}")
        return {}
    finally:
        requests.delete(f"{models}/{example.name}/1.0", timeout=300)


def wait(address: str) -> None:
    """Wait until a server listens."""
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        try:
            requests.get(f"{address}/ping", timeout=5)
        except requests.ConnectionError:
            time.sleep(0.2)
        else:
            return
    sys.exit("the server did not start")


def free_ports(count: int) -> list[int]:
    """Ports that nobody uses now."""
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(count)]
    ports = [each.getsockname()[1] for each in sockets]
    for each in sockets:
        each.close()
    return ports


if __name__ == "__main__":
    sys.exit(main())
