"""Signed requests for archives in private S3 buckets (``s3_sse_kms=true``).

AWS Signature Version 4 for one GET without a body, as the S3 API reference defines it. Objects
that are encrypted with a KMS key are decrypted by S3 for whoever may use the key; the signature
is all that S3 wants of the client.
"""

from __future__ import annotations

import datetime
import hashlib
import hmac
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final
from urllib.parse import parse_qsl, quote, unquote, urlsplit

from tsl.protocol.errors import InvalidParameter

_ALGORITHM: Final = "AWS4-HMAC-SHA256"
_EMPTY_BODY: Final = hashlib.sha256(b"").hexdigest()
_SAFE: Final = "-_.~"
_DEFAULT_PORTS: Final = {"http": 80, "https": 443}
_S3_SUFFIXES: Final = (".amazonaws.com", ".amazonaws.com.cn")


@dataclass(frozen=True, slots=True, kw_only=True)
class AwsCredentials:
    """Who signs.

    Attributes:
        key_id: ``AWS_ACCESS_KEY_ID``.
        secret: ``AWS_SECRET_ACCESS_KEY``.
        session_token: ``AWS_SESSION_TOKEN``, "" without one.
        region: ``AWS_DEFAULT_REGION``.
    """

    key_id: str
    secret: str
    region: str
    session_token: str = ""

    def __repr__(self) -> str:
        return f"AwsCredentials(key_id={self.key_id!r}, region={self.region!r})"

    @classmethod
    def of(cls, environ: Mapping[str, str]) -> AwsCredentials:
        """Take the credentials from the environment.

        Raises:
            InvalidParameter: some are missing.
        """
        names = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_DEFAULT_REGION")
        missing = [name for name in names if not environ.get(name)]
        if missing:
            raise InvalidParameter(
                f"Parameter s3_sse_kms needs {', '.join(missing)} in the server's environment."
            )
        return cls(
            key_id=environ[names[0]],
            secret=environ[names[1]],
            region=environ[names[2]],
            session_token=environ.get("AWS_SESSION_TOKEN", ""),
        )

    def sign(self, url: str, at: datetime.datetime) -> dict[str, str]:
        """Headers for a GET of this URL.

        Args:
            url: an ``http`` or ``https`` URL.
            at: the time, in UTC; S3 refuses what is off by more than a quarter of an hour.
        """
        moment, day = at.strftime("%Y%m%dT%H%M%SZ"), at.strftime("%Y%m%d")
        headers = {
            "host": _host(url),
            "x-amz-content-sha256": _EMPTY_BODY,
            "x-amz-date": moment,
        }
        if self.session_token:
            headers["x-amz-security-token"] = self.session_token
        names = ";".join(sorted(headers))
        scope = f"{day}/{self.region}/s3/aws4_request"
        digest = hashlib.sha256(_canonical(url, headers, names).encode()).hexdigest()
        key = f"AWS4{self.secret}".encode()
        for part in (day, self.region, "s3", "aws4_request"):
            key = _hmac(key, part)
        signature = _hmac(key, "\n".join((_ALGORITHM, moment, scope, digest))).hex()
        headers["Authorization"] = (
            f"{_ALGORITHM} Credential={self.key_id}/{scope}, "
            f"SignedHeaders={names}, Signature={signature}"
        )
        return headers


def is_s3(url: str) -> bool:
    """Whether a URL leads to AWS: nobody else is to get a signature or a session token."""
    return (urlsplit(url).hostname or "").lower().endswith(_S3_SUFFIXES)


def _canonical(url: str, headers: Mapping[str, str], names: str) -> str:
    parts = urlsplit(url)
    query = sorted(
        (quote(name, safe=_SAFE), quote(value, safe=_SAFE))
        for name, value in parse_qsl(parts.query, keep_blank_values=True)
    )
    return "\n".join(
        (
            "GET",
            quote(unquote(parts.path) or "/", safe=_SAFE + "/"),
            "&".join(f"{name}={value}" for name, value in query),
            *(f"{name}:{headers[name]}" for name in sorted(headers)),
            "",
            names,
            _EMPTY_BODY,
        )
    )


def _host(url: str) -> str:
    """The header ``Host``, which is signed and so has to be sent as it is here."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    host = f"[{host}]" if ":" in host else host
    port = parts.port
    return host if port in (None, _DEFAULT_PORTS[parts.scheme.lower()]) else f"{host}:{port}"


def _hmac(key: bytes, text: str) -> bytes:
    return hmac.digest(key, text.encode(), "sha256")
