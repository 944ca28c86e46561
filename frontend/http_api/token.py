"""``/token``: a new key for whoever shows the API key; only there while tokens are on."""

from __future__ import annotations

import logging
from urllib.parse import parse_qs

from tsl.protocol.errors import ServiceUnavailable

from ..auth import Authorizer
from .exchange import Exchange
from .router import Params

logger = logging.getLogger(__name__)


class TokenApi:
    """The endpoint.

    Args:
        authorizer: makes the key.
    """

    def __init__(self, authorizer: Authorizer) -> None:
        self._authorizer = authorizer

    def renew(self, exchange: Exchange, params: Params) -> None:
        """``/token?type=inference`` or ``management``, with any method, as TorchServe takes it.

        TorchServe answers with an empty line, and the new key is in the file only; here it is in
        the answer, too, for callers on other machines.
        """
        del params
        query = parse_qs(exchange.request.target.partition(b"?")[2].decode("latin-1"))
        try:
            key = self._authorizer.renew(query.get("type", [""])[0])
        except OSError as error:
            logger.exception("The new key could not be stored")
            raise ServiceUnavailable(
                "The new key could not be stored; the present one stays good.",
                hint="The server's log has the reason.",
            ) from error
        exchange.respond_json(key)
