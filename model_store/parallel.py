"""How many processes a worker is made of: ``parallelType``, ``parallelLevel``, ``torchrun``.

The keys of ``torchrun`` are named as the options of that command. Those that choose and tune its
own meeting of processes (``rdzv-backend``, ``rdzv-conf``, ``monitor-interval``) are accepted and
have nothing to act on: the server starts the processes itself.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from tsl.protocol.errors import InvalidArchive

from .typed_values import TypedValues

PARALLEL_TYPES: Final = ("pp", "tp", "pptp", "custom")
MAX_PORT: Final = 65535
DEFAULT_PORT: Final = 29400
"""Port of a ``rdzv-endpoint`` that names none, as with torchrun."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Torchrun:
    """The ``torchrun`` section of ``model-config.yaml``.

    Attributes:
        nnodes: machines that serve the model together; each runs a server of its own.
        node_rank: which of them this is, from 0.
        master: where the processes of several machines meet, ``host:port``; "" for one machine.
        rdzv_id: name of the job; "" for one of the server's choice.
        omp_threads: CPU threads per process (``OMP_NUMBER_THREADS``); None when not stated.
    """

    nnodes: int = 1
    node_rank: int = 0
    master: str = ""
    rdzv_id: str = ""
    omp_threads: int | None = None


def parallel_settings(
    yaml: TypedValues, document: Mapping[Any, Any], source: str, warnings: list[str]
) -> dict[str, Any]:
    """The fields of `ModelConfig` about parallel models.

    Args:
        yaml: the settings of the model.
        document: the same as written; the order of its keys counts.
        source: where it comes from, for warnings.
        warnings: list that warnings are added to.

    Raises:
        InvalidArchive: several machines are to serve the model, and how is not said.
    """
    kind = yaml.choice("parallelType", PARALLEL_TYPES)
    levels = {"parallelLevel": yaml.integer("parallelLevel", minimum=0)}
    section = yaml.mapping("torchrun")
    options = TypedValues(section or {}, f"torchrun in {source}", warnings)
    levels["torchrun"] = options.integer("nproc-per-node", minimum=1)
    # Both keys say how many processes a worker has; the later one in the file counts.
    stated = [level for key in document if (level := levels.get(key)) is not None]
    level = stated[-1] if stated else int(section is not None)
    return {
        "parallel_type": kind,
        "parallel_level": 0 if kind is None else level,
        "torchrun": None if section is None else _torchrun(options, source),
    }


def _torchrun(options: TypedValues, source: str) -> Torchrun:
    nnodes = options.integer("nnodes", minimum=1) or 1
    node_rank = options.integer("node-rank", minimum=0) or 0
    if node_rank >= nnodes:
        msg = f"node-rank of torchrun in {source} is {node_rank}, and there are {nnodes} nodes."
        raise InvalidArchive(msg, hint="Ranks count from 0.")
    return Torchrun(
        nnodes=nnodes,
        node_rank=node_rank,
        master=_master(options, source) if nnodes > 1 else "",
        rdzv_id=options.word("rdzv-id") or "",
        omp_threads=options.integer("OMP_NUMBER_THREADS", minimum=1),
    )


def _master(options: TypedValues, source: str) -> str:
    """Where the processes of several machines meet."""
    master = options.word("rdzv-endpoint") or ""
    if not master:
        host, port = options.word("master-addr"), options.integer("master-port", minimum=1)
        master = f"{host or ''}:{port or ''}"
    if ":" not in master:
        master = f"{master}:{DEFAULT_PORT}"
    host, _, number = master.rpartition(":")
    if host and number.isdecimal() and 0 < int(number) <= MAX_PORT:
        return master
    msg = f"torchrun in {source} asks for several nodes and does not say where they meet."
    raise InvalidArchive(msg, hint="Set rdzv-endpoint to the host:port of node 0.")
