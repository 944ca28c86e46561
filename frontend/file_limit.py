"""How many files and connections this process may have."""

from __future__ import annotations

import contextlib
import resource


def raise_file_limit() -> None:
    """One descriptor per connection: use what the system allows. Child processes inherit it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft < hard:
        with contextlib.suppress(ValueError, OSError):  # some kernels bound it lower than hard
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
