"""Base class of handlers whose model is a pipeline over a group of processes."""

from __future__ import annotations

from abc import ABC
from typing import Any

import torch

from ..distributed import group_rank, initialize_rpc_workers
from .base_handler import BaseHandler


class BasePippyHandler(BaseHandler, ABC):
    """Connects the group; a subclass then loads its model with ``get_pipeline_driver``.

    Attributes:
        local_rank: number of this process.
        world_size: number of processes.
        device: number of this process's accelerator; the CPU without one.
    """

    local_rank: int = 0
    world_size: int = 1

    def initialize(self, ctx: Any) -> None:
        """Take this process's place in the group.

        Raises:
            LoadFailed: the worker was not started by torchrun.
        """
        self.local_rank = group_rank("LOCAL_RANK")
        self.world_size = group_rank("WORLD_SIZE")
        count = torch.cuda.device_count()
        self.device = self.local_rank % count if count else torch.device("cpu")
        initialize_rpc_workers(self.local_rank, self.world_size, ctx)
