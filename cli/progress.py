"""A progress bar for work on large files; nothing at all where nobody watches."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import Any, Final

import click

MIN_TOTAL_BYTES: Final = 32 * 1024 * 1024
"""Less than this is done before anybody could read the bar."""


class ProgressLine:
    """Shows one bar on stderr for each stage of some work, if stderr is a terminal.

    Use it in a ``with`` block, and give `show` to what does the work.
    """

    def __init__(self) -> None:
        self._is_shown: Final = sys.stderr.isatty()
        self._stage = ""
        self._done = 0
        self._bar: Any = None  # click's class is generic and private

    def __enter__(self) -> ProgressLine:
        return self

    def __exit__(
        self,
        error_type: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._end()

    def show(self, stage: str, done: int, total: int) -> None:
        """Say how far the work is.

        Args:
            stage: what is being done; a new one begins a new bar.
            done: bytes so far.
            total: bytes in all.
        """
        if not self._is_shown or total < MIN_TOTAL_BYTES:
            return
        if self._bar is None or stage != self._stage:
            self._end()
            self._stage = stage
            self._done = 0
            self._bar = click.progressbar(
                length=total, label=stage.capitalize(), file=sys.stderr, show_pos=False
            )
        self._bar.update(done - self._done)
        self._done = done

    def _end(self) -> None:
        if self._bar is not None:
            self._bar.render_finish()
            self._bar = None
