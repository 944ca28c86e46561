"""Which URLs archives may be fetched from, as the operator's ``allowed_urls`` says.

Only the text of a URL is judged here. The address that a connection really ends at is
`download`'s to check; `is_metadata_address` says which addresses are special.
"""

from __future__ import annotations

import ipaddress
import re
from typing import Final
from urllib.parse import unquote

from tsl.protocol.errors import ConfigError, UrlNotAllowed

DEFAULT_ALLOWED_URLS: Final = "file://.*|http(s)?://.*"

_URL: Final = re.compile(r"[a-z][a-z0-9+.-]*://", re.IGNORECASE)
_UNNAMED_HOSTS: Final = ("http://unnamed.invalid/x.mar", "https://unnamed.invalid/x.mar")

# Cloud providers hand out credentials at link-local addresses, and at these.
_METADATA_ADDRESSES: Final = frozenset(
    map(ipaddress.ip_address, ("100.100.100.200", "168.63.129.16", "fd00:ec2::254"))
)


class AllowList:
    """The regular expressions that a URL may match.

    Args:
        allowed_urls: regular expressions, separated by commas; a URL must match one of them
            from beginning to end, in any case of letters.

    Raises:
        ConfigError: one of them is no regular expression.
    """

    def __init__(self, allowed_urls: str = DEFAULT_ALLOWED_URLS) -> None:
        self._patterns = []
        for text in filter(None, (part.strip() for part in allowed_urls.split(","))):
            try:
                self._patterns.append(re.compile(text, re.IGNORECASE))
            except re.error as error:
                msg = f"allowed_urls has an invalid regular expression {text!r}: {error}."
                raise ConfigError(msg) from error

    def check(self, url: str) -> None:
        """Let an allowed URL pass.

        Raises:
            UrlNotAllowed: the URL climbs (``..``), or matches no expression.
        """
        if ".." in unquote(url):
            msg = f"Relative path is not allowed in url: {url}"
            raise UrlNotAllowed(msg)
        if not any(pattern.fullmatch(url) for pattern in self._patterns):
            msg = f"Given URL {url} does not match any allowed URL(s)."
            raise UrlNotAllowed(msg, hint="The server's option allowed_urls lists them.")

    def names_host(self, url: str) -> bool:
        """Whether the operator allowed this URL's host in particular.

        An expression that matches a host nobody has heard of names none.
        """
        return any(
            pattern.fullmatch(url) and not any(map(pattern.fullmatch, _UNNAMED_HOSTS))
            for pattern in self._patterns
        )


def is_url(location: str) -> bool:
    """Whether a location is a URL of any scheme, not the name of a file."""
    return _URL.match(location) is not None


def is_metadata_address(host: str) -> bool:
    """Whether a numeric address is link-local, or a cloud's metadata service.

    Nobody keeps models there, but whoever can make a server fetch from there can read its
    credentials.

    Args:
        host: an IP address; anything else is not special.
    """
    try:
        address = ipaddress.ip_address(host.partition("%")[0])
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    address = mapped or address
    return address.is_link_local or address in _METADATA_ADDRESSES
