"""Byte code for the sources of the checkout, as an installed tsl has it.

Python writes it by itself, but for where PYTHONDONTWRITEBYTECODE is set; without it, a start compiles
all modules again and keeps some MB that the compiler has used.
"""

from __future__ import annotations

import compileall
from functools import cache
from typing import Final

from .processes import ROOT

_PACKAGES: Final = ("backend", "cli", "frontend", "model_store", "protocol", "ts")


@cache
def compile_sources() -> None:
    """Compile what has changed, once for each run of a benchmark."""
    for package in _PACKAGES:
        compileall.compile_dir(ROOT / package, quiet=1)
