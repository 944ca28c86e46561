"""Finding, fetching and unpacking archives beside the event loop.

Each runs in a daemon thread of its own: a download whose source does not send may hold its thread
for a minute, and neither other registrations nor the end of the server are to wait for it. What
nobody waits for any more is given up at its next sign of life, and leaves nothing behind.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
import time
from collections.abc import Callable
from typing import Final, Protocol

from tsl.model_store import ModelVersion, RegistrationRequest, StageProgress
from tsl.protocol.errors import ShuttingDown

logger = logging.getLogger(__name__)

AT_ONCE: Final = 16
"""Archives that are looked at at the same time."""
REPORT_EVERY_S: Final = 5.0
LAST_WORDS_S: Final = 1.0
"""How long a server that stops waits for a thread to clean up."""
_MEGABYTE: Final = 1_000_000


class Store(Protocol):
    """What is needed of `ModelStore`."""

    def resolve(
        self, request: RegistrationRequest, on_progress: StageProgress | None = None
    ) -> ModelVersion:
        """Make a model ready to be served; nothing stays behind when that fails."""

    def remove(self, version: ModelVersion) -> None:
        """Forget a version."""


class Resolver:
    """Turns requests into model versions.

    Args:
        store: does the work.
    """

    def __init__(self, store: Store) -> None:
        self._store = store
        self._places = asyncio.Semaphore(AT_ONCE)

    async def resolve(self, request: RegistrationRequest) -> ModelVersion:
        """Make a model ready to be served.

        Raises:
            TslError: the archive cannot be found, fetched or used.
        """
        async with self._places:
            progress = Progress(request.url)
            work = in_thread(lambda: self._store.resolve(request, progress), self._store.remove)
            try:
                return await asyncio.shield(work)
            except asyncio.CancelledError:
                progress.is_given_up = True
                await asyncio.wait((work,), timeout=LAST_WORDS_S)
                if work.done() and not work.cancelled() and work.exception() is None:
                    await asyncio.to_thread(self._store.remove, work.result())
                else:
                    work.cancel()
                raise


class Progress:
    """Reports in the log how far an archive is; called from the thread that works on it.

    Args:
        label: what is being fetched.
        clock: tells the time in seconds.

    Attributes:
        is_given_up: raise at the next call.
    """

    def __init__(self, label: str, clock: Callable[[], float] = time.monotonic) -> None:
        self._label = label.partition("?")[0]  # the rest may be a signature
        self._clock = clock
        self._stage = ""
        self._began_at = self._told_at = clock()
        self.is_given_up = False

    def __call__(self, stage: str, done: int, total: int) -> None:
        """A stage has come so far.

        Args:
            stage: ``downloading``, ``checking`` or ``unpacking``.
            done: bytes.
            total: bytes, 0 when nobody knows.

        Raises:
            ShuttingDown: nobody waits for it any more.
        """
        if self.is_given_up:
            raise ShuttingDown
        now = self._clock()
        if stage != self._stage:
            self._stage = stage
            self._began_at = now
        if now - self._told_at < REPORT_EVERY_S:
            return
        self._told_at = now
        rate = done / max(now - self._began_at, 0.001) / _MEGABYTE
        share = f" of {total / _MEGABYTE:.1f} MB ({100 * done // total} %)" if total else " MB"
        logger.info("%s: %s, %.1f%s, %.1f MB/s", self._label, stage, done / _MEGABYTE, share, rate)


def in_thread(
    work: Callable[[], ModelVersion], undo: Callable[[ModelVersion], None]
) -> asyncio.Future[ModelVersion]:
    """Run something in a daemon thread; what nobody takes is undone there."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[ModelVersion] = loop.create_future()

    def settle(version: ModelVersion | None, error: BaseException | None) -> None:
        if future.done():  # given up
            if version is not None:
                threading.Thread(target=undo, args=(version,), daemon=True).start()
        elif version is not None:
            future.set_result(version)
        else:
            assert error is not None
            future.set_exception(error)

    def run() -> None:
        version, error = None, None
        try:
            version = work()
        except BaseException as raised:
            error = raised
        with contextlib.suppress(RuntimeError):  # the loop has ended, and the process is about to
            loop.call_soon_threadsafe(settle, version, error)

    threading.Thread(target=run, name="archive", daemon=True).start()
    return future
