"""What the exit codes of ``tsl`` mean; docs/exit-codes.md explains them to users."""

from __future__ import annotations

from enum import IntEnum


class ExitCode(IntEnum):
    """How a command ended."""

    OK = 0
    FAILED = 1
    """Cannot start, already running, cannot be stopped: the text says why."""
    USAGE = 2
    """The command line is not understood (click's own code)."""
    NOT_RUNNING = 3
    """No server runs."""
    UNHEALTHY = 4
    """A server runs and is not healthy, or does not answer."""
    INTERRUPTED = 130
    """Ctrl-C while waiting; what was waited for goes on."""
