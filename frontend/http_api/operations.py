"""Management calls that wait: each runs in a task of its own and answers its exchange once."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Coroutine
from typing import Any

from tsl.protocol.errors import InternalError, ShuttingDown, TslError

from .exchange import Exchange

logger = logging.getLogger(__name__)


class Operations:
    """The management calls that are under way."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[None]] = set()

    def run(self, exchange: Exchange, work: Coroutine[Any, Any, None]) -> None:
        """Start a call.

        Args:
            exchange: answered with the error if ``work`` raises one.
            work: answers the exchange itself when it succeeds.
        """
        task = asyncio.get_running_loop().create_task(_guarded(exchange, work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """Give up what is under way; the clients are told so."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)


async def _guarded(exchange: Exchange, work: Coroutine[Any, Any, None]) -> None:
    try:
        await work
    except TslError as error:
        exchange.respond_error(error)
    except asyncio.CancelledError:
        exchange.respond_error(ShuttingDown())
        raise
    except Exception:
        # The boundary of a management call: a bug costs this one answer.
        logger.exception("%s: internal error", exchange.request_id, extra=exchange.log_fields)
        exchange.respond_error(InternalError())
