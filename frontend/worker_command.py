"""How a worker process is called: its arguments and its environment."""

from __future__ import annotations

from typing import Final

from .worker_process import WorkerSpec

MALLOC_DEFAULTS: Final = {
    "MALLOC_MMAP_THRESHOLD_": "268435456",
    "MALLOC_TRIM_THRESHOLD_": "268435456",
}
"""Keeps glibc from returning and re-faulting the activations of every batch: 1.3 to 2.4 times the
throughput of a small CNN (DESIGN section 2). Read by the C library when a process starts."""

SAFE_PATH: Final = "-P"
"""Keeps modules of the current folder from taking the place of the interpreter's own."""


def worker_arguments(spec: WorkerSpec) -> list[str]:
    """Arguments of ``tsl.backend``; the token is not among them, because ``ps`` shows them."""
    return ["--socket", spec.socket_path, "--worker-id", spec.worker_id]


def worker_environ(spec: WorkerSpec) -> dict[str, str]:
    """The worker's environment, with its token."""
    return {**MALLOC_DEFAULTS, **spec.environ, "TSL_WORKER_TOKEN": spec.token}
