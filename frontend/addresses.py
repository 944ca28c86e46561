"""Listen addresses as the configuration writes them: ``http://host:port`` and ``unix:/path``.

Only text and values here; opening sockets is the server's part.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Final, Literal, TypeAlias

Scheme: TypeAlias = Literal["http", "https", "unix"]

# Longest path that fits sockaddr_un.sun_path on Linux, without the closing zero byte.
MAX_UNIX_PATH_BYTES: Final = 107

_URL: Final = re.compile(
    r"(?P<scheme>https?)://(?P<host>\[[0-9A-Fa-f:.%]+\]|[^:/\[\]\s]+)(:(?P<port>\d+))?/?"
)
_LOOPBACK_OF_WILDCARD: Final = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104  (compared, not bound)


@dataclass(frozen=True, slots=True, kw_only=True)
class Address:
    """One place where an API listens.

    Attributes:
        scheme: ``http``, ``https`` or ``unix``.
        host: host name or IP address, an IPv6 one without brackets; "" for ``unix``.
        port: TCP port, 0 lets the system choose; 0 for ``unix``.
        unix_path: path of the socket; "" for TCP.
    """

    scheme: Scheme
    host: str = ""
    port: int = 0
    unix_path: str = ""

    @property
    def url(self) -> str:
        """The address as the configuration writes it."""
        return self._url_of(self.host)

    @property
    def client_url(self) -> str:
        """The address as a client on this machine writes it: a wildcard becomes loopback."""
        return self._url_of(_LOOPBACK_OF_WILDCARD.get(self.host, self.host))

    def _url_of(self, host: str) -> str:
        if self.scheme == "unix":
            return f"unix:{self.unix_path}"
        shown = f"[{host}]" if ":" in host else host
        return f"{self.scheme}://{shown}:{self.port}"

    @classmethod
    def parse(cls, text: str, *, http_port: int, https_port: int) -> Address:
        """Read an address.

        Args:
            text: ``http://host[:port]``, ``https://host[:port]`` or ``unix:/path``.
            http_port: port of an ``http`` address that names none.
            https_port: port of an ``https`` address that names none.

        Raises:
            ValueError: the text is none of these; the message says what is expected.
        """
        if text.startswith("unix:"):
            return cls._parse_unix(text.removeprefix("unix:"))
        match = _URL.fullmatch(text)
        if match is None:
            msg = "expected http://host, http://host:port, https://host:port or unix:/path"
            raise ValueError(msg)
        scheme: Scheme = "https" if match["scheme"] == "https" else "http"
        default_port = https_port if scheme == "https" else http_port
        port = int(match["port"]) if match["port"] else default_port
        if port > 65535:
            msg = f"port {port} is not between 0 and 65535"
            raise ValueError(msg)
        return cls(scheme=scheme, host=match["host"].strip("[]"), port=port)

    @classmethod
    def _parse_unix(cls, path: str) -> Address:
        if not path.startswith("/"):
            msg = "a unix address needs an absolute path, for example unix:/run/tsl.sock"
            raise ValueError(msg)
        if len(path.encode()) > MAX_UNIX_PATH_BYTES:
            msg = f"the path of a unix socket may have at most {MAX_UNIX_PATH_BYTES} bytes"
            raise ValueError(msg)
        return cls(scheme="unix", unix_path=path)
