"""What every process below the server is started with.

Light on purpose, down to its imports: a start needs this before it has read its configuration.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

SAFE_PATH: Final = "-P"
"""Keeps modules of the current folder from taking the place of the interpreter's own."""

MALLOC_DEFAULTS: Final = {
    "MALLOC_MMAP_THRESHOLD_": "268435456",
    "MALLOC_TRIM_THRESHOLD_": "268435456",
}
"""Keeps glibc from returning and re-faulting the activations of every batch: 1.3 to 2.4 times the
throughput of a small CNN (DESIGN section 2). Read by the C library when a process starts."""

SECRET_VARIABLES: Final = frozenset(
    {"TSL_API_KEY", "TSL_INFERENCE_KEY", "TSL_MANAGEMENT_KEY", "TS_KEYSTORE_PASS"}
)
"""Where the environment holds settings that are declared as secret."""


def without_secrets(environ: Mapping[str, str]) -> dict[str, str]:
    """The environment less what only the front end may know: handlers are other people's code."""
    return {name: value for name, value in environ.items() if name not in SECRET_VARIABLES}


def nursery_environ(environ: Mapping[str, str]) -> dict[str, str]:
    """The environment of the process that workers are forked from.

    Args:
        environ: the server's own.
    """
    return {
        **MALLOC_DEFAULTS,
        **without_secrets(environ),
        # One BLAS thread: OpenBLAS starts its threads when numpy is imported, and a process with
        # threads cannot be forked safely.
        "OPENBLAS_NUM_THREADS": "1",
    }
