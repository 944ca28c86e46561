"""All servers of the comparison."""

from __future__ import annotations

from typing import Final

from .base import Peer
from .ceiling import Bare
from .demo import Demo
from .others import BentoMl, LitServe, Mosec, RayServe
from .tensor_servers import MlServer, Triton
from .torchserve import TorchServe, Tsl

ALL: Final[tuple[Peer, ...]] = (
    Bare(),
    Tsl(),
    Demo(),
    TorchServe(),
    Mosec(),
    Triton(),
    LitServe(),
    BentoMl(),
    MlServer(),
    RayServe(),
)
ALONE: Final = ("ceiling", "tsl", "tsl-demo")


def select(names: list[str]) -> list[Peer]:
    """Those with these names, in the order of the tables.

    Args:
        names: of peers; ``all`` stands for every one that is installed.

    Raises:
        SystemExit: one is not known or not installed.
    """
    if names == ["all"]:
        return [peer for peer in ALL if peer.is_installed()]
    known = {peer.name: peer for peer in ALL}
    for name in names:
        if name not in known:
            raise SystemExit(f"no peer {name!r}; there are: {', '.join(known)}")
        if not known[name].is_installed():
            raise SystemExit(f"{name} is not installed: scripts/bench_peers {name}")
    return [peer for peer in ALL if peer.name in names]
