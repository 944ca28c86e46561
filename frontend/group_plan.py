"""How a worker that is made of several processes is to be started: its ranks.

The environment of a rank is the one that torchrun gives, so that handlers and
``torch.distributed`` find what they know. The server starts the processes itself, see
``docs/decisions.md``.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from tsl.model_store import Torchrun

LOOPBACK: Final = "127.0.0.1"
_LOOPBACK_DEFAULTS: Final = {"GLOO_SOCKET_IFNAME": "lo", "TP_SOCKET_IFNAME": "lo"}
"""Processes of one machine talk over its loopback device: not every host name has an address, and
nobody else has to hear it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupPlan:
    """The ranks of a worker.

    Attributes:
        size: processes on this machine.
        copies_batches: whether every rank gets the batches; in a pipeline (``pp``) only the
            first one does, and hands on what it has computed.
        torchrun: what the model says about machines and threads.
        job: name of the group for ``TORCHELASTIC_RUN_ID``.
        answer_timeout_s: how long the other ranks may take for a batch that the first one has
            answered.
        release: give the devices back.
    """

    size: int
    copies_batches: bool
    torchrun: Torchrun
    job: str
    answer_timeout_s: float
    release: Callable[[], None]

    def environ(self, rank: int, port: int, inherited: dict[str, str]) -> dict[str, str]:
        """What the environment of a rank has beside a worker's own.

        Args:
            rank: which of this machine's processes.
            port: where the ranks meet, if the model does not say.
            inherited: the environment that it is added to.
        """
        options, size = self.torchrun, self.size
        host, _, number = options.master.rpartition(":")
        world = options.nnodes * size
        number_in_world = str(options.node_rank * size + rank)
        added = {
            "LOCAL_RANK": str(rank),
            "RANK": number_in_world,
            "ROLE_RANK": number_in_world,
            "GROUP_RANK": str(options.node_rank),
            "LOCAL_WORLD_SIZE": str(size),
            "WORLD_SIZE": str(world),
            "ROLE_WORLD_SIZE": str(world),
            "GROUP_WORLD_SIZE": str(options.nnodes),
            "ROLE_NAME": "default",
            "MASTER_ADDR": host.strip("[]") or LOOPBACK,
            "MASTER_PORT": number or str(port),
            "TORCHELASTIC_RUN_ID": options.rdzv_id or self.job,
            "TORCHELASTIC_RESTART_COUNT": "0",
            "TORCHELASTIC_MAX_RESTARTS": "0",
        }
        if options.nnodes == 1:
            added |= {k: v for k, v in _LOOPBACK_DEFAULTS.items() if k not in inherited}
        return added


def group_threads(torchrun: Torchrun | None, inherited: str | None) -> str:
    """``OMP_NUM_THREADS`` of a rank: the model's word, the server's, else 1 (as torchrun)."""
    if torchrun is not None and torchrun.omp_threads is not None:
        return str(torchrun.omp_threads)
    return inherited or "1"


class ReservedPort:
    """A free port of the loopback device that nobody else is given while this object is open.

    The socket is bound and does not listen. Linux then hands the port to nobody who asks for any
    port, but lets a process listen that asks for this one, as the first rank does.
    """

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self._socket.bind((LOOPBACK, 0))
        self.number: int = self._socket.getsockname()[1]

    def close(self) -> None:
        """Let others have it."""
        self._socket.close()
