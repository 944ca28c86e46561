"""How a worker process is called: its arguments and its environment."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tsl.protocol.output_marks import VARIABLE

from .child_process import MALLOC_DEFAULTS

if TYPE_CHECKING:
    from .config import ServerConfig
    from .worker_process import WorkerSpec


def worker_arguments(spec: WorkerSpec) -> list[str]:
    """Arguments of ``tsl.backend``; the token is not among them, because ``ps`` shows them."""
    return ["--socket", spec.socket_path, "--worker-id", spec.worker_id]


def worker_environ(spec: WorkerSpec) -> dict[str, str]:
    """The worker's environment, with its token."""
    return {**MALLOC_DEFAULTS, **spec.environ, "TSL_WORKER_TOKEN": spec.token}


def output_marks(config: ServerConfig) -> dict[str, str]:
    """What tells a worker to mark its output, if the configuration asks for that."""
    is_wanted = config.log_request_ids or config.log_format == "json"
    return {VARIABLE: "1"} if is_wanted else {}
