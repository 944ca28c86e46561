"""tsl with the archive of its demo: the same weights, with everything tsl has to offer for them."""

from __future__ import annotations

import tempfile
import zipfile
from pathlib import Path
from typing import Any, Final

import yaml

from tsl.cli.demo import build_demo

from .base import Service, Work
from .torchserve import MODEL, Tsl

_CONFIG: Final = "model-config.yaml"


class Demo(Tsl):
    """The demo's classifier: optimised, its weights shared by all workers.

    Args:
        shares: whether workers share the weights.
    """

    name = "tsl-demo"
    title = "tsl, optimised"
    works = frozenset({Work.CLASSIFY})

    def __init__(self, *, shares: bool = True) -> None:
        self._shares = shares

    def serves(self, service: Service) -> bool:
        """One archive is all there is."""
        return super().serves(service) and service.models == 1

    def write_models(self, service: Service, store: Path) -> None:
        """Write the demo's archive with other settings."""
        settings = {
            "minWorkers": service.workers,
            "maxWorkers": max(8, service.workers),
            "batchSize": service.batch_size,
            "maxBatchDelay": service.delay_ms,
            "shareModel": self._shares,
        }
        with tempfile.TemporaryDirectory() as name:
            demo = build_demo(Path(name), lambda line: None)
            repack(demo.model_store / "imagenet.mar", store / f"{MODEL}.mar", settings)


def repack(source: Path, target: Path, settings: dict[str, Any]) -> None:
    """Copy an archive with other settings in its ``model-config.yaml``."""
    with zipfile.ZipFile(source) as old, zipfile.ZipFile(target, "w") as new:
        for member in old.namelist():
            content = old.read(member)
            if member == _CONFIG:
                content = yaml.safe_dump({**yaml.safe_load(content), **settings}).encode()
            new.writestr(member, content)
