"""When to start a dead worker again; time is a parameter.

The delays are TorchServe's (Fibonacci, in seconds) with one difference: the first restart is
immediate, because a worker that has served well most often dies of one bad request. So that a
worker which loads and dies at once cannot spin, the sequence starts anew only after
`PROVEN_AFTER_S` seconds of service, not after a mere load.
"""

from __future__ import annotations

from typing import Final

DELAYS_S: Final = (0, 1, 1, 2, 3, 5, 8, 13, 21, 34, 55, 89, 144, 233, 377, 610, 987, 1597)
PROVEN_AFTER_S: Final = 10.0


class RestartPolicy:
    """Back-off and retry window of one worker.

    Args:
        window_s: after this many seconds of failing to come back the worker is abandoned
            (``maxRetryTimeoutInSec``); 0 means no restart at all.
    """

    __slots__ = ("_failing_since", "_loaded_at", "_position", "window_s")

    def __init__(self, window_s: float) -> None:
        self.window_s = window_s
        self._position = 0
        self._failing_since: float | None = None
        self._loaded_at: float | None = None

    def loaded(self, now: float) -> None:
        """The worker serves: the retry window is over, the back-off not yet."""
        self._failing_since = None
        self._loaded_at = now

    def died(self, now: float) -> float | None:
        """The worker is gone.

        Returns:
            Seconds until the next start, or None to give up.
        """
        if self._loaded_at is not None and now - self._loaded_at >= PROVEN_AFTER_S:
            self._position = 0
        self._loaded_at = None
        if self._failing_since is None:
            self._failing_since = now
        if now - self._failing_since >= self.window_s:
            return None
        delay = DELAYS_S[min(self._position, len(DELAYS_S) - 1)]
        self._position += 1
        return float(delay)

    @property
    def failing_since(self) -> float | None:
        """When the present run of failures began, None while all is well."""
        return self._failing_since
