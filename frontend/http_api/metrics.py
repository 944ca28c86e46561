"""The metrics endpoint."""

from __future__ import annotations

from typing import Final
from urllib.parse import parse_qs

from ..metrics.board import Board
from .exchange import Exchange
from .router import Params

CONTENT_TYPE: Final = b"content-type: text/plain; version=0.0.4; charset=utf-8\r\n"


class MetricsApi:
    """``/metrics``.

    Args:
        board: makes the text.
    """

    def __init__(self, board: Board) -> None:
        self._board = board

    def metrics(self, exchange: Exchange, params: Params) -> None:
        """All families, or those that ``?name[]=…`` names."""
        del params
        query = parse_qs(exchange.request.target.partition(b"?")[2].decode("latin-1"))
        exchange.respond(self._board.page(tuple(query.get("name[]", ()))), 200, CONTENT_TYPE)
