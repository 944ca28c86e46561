"""One request for an archive: open it, look at the answer, read the body.

Nothing is followed or decided here; `download` does that. The one check that can be made at
this place only is made here: which address a connection ended at.
"""

from __future__ import annotations

import http.client
import ssl
import urllib.error
import urllib.request
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO, Final, Protocol
from urllib.parse import urlsplit

from tsl.protocol.errors import DownloadFailed, UrlNotAllowed

from .allow_list import is_metadata_address

_REDIRECTS: Final = (301, 302, 303, 307, 308)


class Source(Protocol):
    """An open download."""

    @property
    def size_bytes(self) -> int | None:
        """The size that was announced; None if it was not."""

    def read(self, size: int, /) -> bytes:
        """The next bytes, at most ``size``; none at the end."""

    def close(self) -> None:
        """Give the connection up."""


class FileSource:
    """A file of this host.

    Args:
        file: the open file.
        size_bytes: its size.
    """

    def __init__(self, file: BinaryIO, size_bytes: int) -> None:
        self._file = file
        self.size_bytes: int | None = size_bytes
        self.read = file.read
        self.close = file.close


class HttpSource:
    """An answer to a request; the body has not been read.

    Args:
        answer: the answer as the standard library gives it.

    Attributes:
        status: the HTTP status.
        redirects_to: where a redirect leads, as the server wrote it; None if it is none.
        size_bytes: announced size of the body.
    """

    def __init__(self, answer: http.client.HTTPResponse) -> None:
        self.status = answer.status
        location = answer.headers.get("Location")
        self.redirects_to = location if answer.status in _REDIRECTS else None
        self.size_bytes: int | None = answer.length
        self.read = answer.read
        self.close = answer.close


def open_file(path: Path) -> FileSource:
    """Open a file of this host.

    Raises:
        DownloadFailed: it is no regular file.
        OSError: it cannot be opened.
    """
    if not path.is_file():
        msg = "Failed to download archive: there is no such file."
        raise DownloadFailed(msg)
    return FileSource(path.open("rb"), path.stat().st_size)


def request(
    url: str,
    *,
    timeout_s: float,
    ca_bundle: Path | None,
    is_host_trusted: bool,
    headers: Mapping[str, str] | None = None,
) -> HttpSource:
    """Send one GET request; redirects are answers like others.

    Args:
        url: an ``http`` or ``https`` URL.
        timeout_s: limit for connecting, and for each read.
        ca_bundle: file with certificates to trust instead of the system's.
        is_host_trusted: the operator named this host: it may have any address.
        headers: to send besides the usual ones.

    Raises:
        DownloadFailed: the URL has another scheme, or a password.
        UrlNotAllowed: the host is at an address where no models are.
        OSError: the server cannot be reached.
        http.client.HTTPException: it does not speak HTTP.
    """
    parts = urlsplit(url)
    if parts.scheme.lower() not in ("http", "https"):
        msg = f"Failed to download archive from: {url} (only http, https and file are known)."
        raise DownloadFailed(msg)
    if "@" in parts.netloc:
        # It would be shown to everybody who lists the models.
        msg = "Failed to download archive: its URL holds a user name or a password."
        raise DownloadFailed(msg)
    if not is_host_trusted and is_metadata_address(parts.hostname or ""):
        raise _not_allowed(parts.hostname or "")
    handlers: list[urllib.request.BaseHandler] = [_AnyStatus()]
    if not is_host_trusted:
        handlers.append(_GuardedHttpHandler())
    if parts.scheme.lower() == "https":
        context = ssl.create_default_context(cafile=ca_bundle)
        tls = urllib.request.HTTPSHandler if is_host_trusted else _GuardedHttpsHandler
        handlers.append(tls(context=context))
    opener = urllib.request.build_opener(*handlers)
    opener.addheaders = [("User-Agent", "tsl"), ("Accept", "*/*")]
    try:
        asked = urllib.request.Request(url, headers=dict(headers or {}))  # noqa: S310  (checked above)
        return HttpSource(opener.open(asked, timeout=timeout_s))
    except urllib.error.URLError as error:
        raise error.reason if isinstance(error.reason, OSError) else error from error


class _AnyStatus(urllib.request.HTTPErrorProcessor):
    """Takes the place of the handlers that raise for errors and follow redirects."""

    def http_response(self, request: Any, response: Any) -> Any:
        del request
        return response

    https_response = http_response


class _GuardedHttp(http.client.HTTPConnection):
    def connect(self) -> None:
        super().connect()
        _check_peer(self)


class _GuardedHttps(http.client.HTTPSConnection):
    def connect(self) -> None:
        super().connect()
        _check_peer(self)


class _GuardedHttpHandler(urllib.request.HTTPHandler):
    def http_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(_GuardedHttp, req)


class _GuardedHttpsHandler(urllib.request.HTTPSHandler):
    def __init__(self, context: ssl.SSLContext) -> None:
        super().__init__(context=context)
        self._tls = context

    def https_open(self, req: urllib.request.Request) -> http.client.HTTPResponse:
        return self.do_open(_GuardedHttps, req, context=self._tls)


def _check_peer(connection: http.client.HTTPConnection) -> None:
    """Judge the address itself: a name may lead anywhere, and elsewhere the next time."""
    host = str(connection.sock.getpeername()[0])
    if is_metadata_address(host):
        connection.close()
        raise _not_allowed(host)


def _not_allowed(host: str) -> UrlNotAllowed:
    msg = f"Archives are not fetched from the link-local address {host}."
    return UrlNotAllowed(msg, hint="If this is meant, name the host in allowed_urls.")
