"""Base class of handlers whose model DeepSpeed splits over a group of processes."""

from __future__ import annotations

import os
from abc import ABC
from typing import Any

from .base_handler import BaseHandler


class BaseDeepSpeedHandler(BaseHandler, ABC):
    """Knows its accelerator; a subclass then loads its model with ``get_ds_engine``.

    Attributes:
        device: number of this process in the group, which is that of its accelerator.
    """

    def initialize(self, ctx: Any) -> None:
        """Take this process's place in the group."""
        del ctx
        self.device = int(os.environ.get("LOCAL_RANK") or 0)
