"""How a worker process is called: its arguments and its environment."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from tsl.protocol.output_marks import VARIABLE

from .config import ServerConfig, without_secrets

if TYPE_CHECKING:
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


def nursery_environ(config: ServerConfig, environ: Mapping[str, str]) -> dict[str, str]:
    """The environment of the process that workers are forked from.

    Args:
        config: says whether the output of workers is marked.
        environ: the server's own.
    """
    return {
        **MALLOC_DEFAULTS,
        **without_secrets(environ),
        **output_marks(config),
        # One BLAS thread: OpenBLAS starts its threads when numpy is imported, and a process with
        # threads cannot be forked safely.
        "OPENBLAS_NUM_THREADS": "1",
    }


def output_marks(config: ServerConfig) -> dict[str, str]:
    """What tells a worker to mark its output, if the configuration asks for that."""
    is_wanted = config.log_request_ids or config.log_format == "json"
    return {VARIABLE: "1"} if is_wanted else {}
