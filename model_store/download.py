"""Fetch an archive into the model store, completely or not at all.

What may be fetched is checked at three points: the URL, every URL it redirects to, and the
address that the connection ended at, before a request is sent there.
"""

from __future__ import annotations

import datetime
import hashlib
import http
import http.client
import os
import re
import tempfile
import time
from collections.abc import Callable, Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Final, NamedTuple
from urllib.parse import unquote, urljoin, urlsplit

from tsl.protocol.errors import (
    Conflict,
    DownloadFailed,
    InvalidArchive,
    InvalidParameter,
    UrlNotAllowed,
)

from .allow_list import AllowList
from .aws_signature import AwsCredentials, is_s3
from .http_source import Source, open_file, request
from .unpacking import CHUNK_BYTES, Progress

MAX_REDIRECTS: Final = 5
_PART_PREFIX: Final = ".download-"
_SHA256: Final = re.compile(r"[0-9A-Fa-f]{64}")


@dataclass(frozen=True, slots=True, kw_only=True)
class DownloadLimits:
    """How large and how slow a download may be.

    Attributes:
        max_bytes: size of the archive; see `ExtractionLimits` for where the number comes from.
        idle_timeout_s: limit for connecting, and for each wait for more bytes.
        total_timeout_s: limit for the whole download.
    """

    max_bytes: int = 256 * 1024**3
    idle_timeout_s: float = 60.0
    total_timeout_s: float = 6 * 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Download:
    """An archive that is in the model store now.

    Attributes:
        path: the file.
        is_new: it was not there before.
        is_copy: it may be deleted, because the URL still has it; false when the URL names
            this very file.
    """

    path: Path
    is_new: bool = True
    is_copy: bool = True


class _Job(NamedTuple):
    """What is to be fetched, and how."""

    url: str
    reuse: bool
    sha256: str | None
    on_progress: Progress | None


class Downloader:
    """Fetches archives from ``http``, ``https`` and ``file`` URLs.

    Proxies are taken from the environment, as the standard library does it.

    Args:
        allowed: which URLs may be fetched.
        limits: how large and how slow a download may be.
        ca_bundle: file with certificates to trust instead of the system's.
        environ: environment variables; AWS's have the credentials for S3, and
            ``REQUESTS_CA_BUNDLE`` takes the place of a missing ``ca_bundle``.
        clock: tells the time in seconds.
    """

    def __init__(
        self,
        allowed: AllowList,
        limits: DownloadLimits | None = None,
        *,
        ca_bundle: Path | None = None,
        environ: Mapping[str, str] | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._allowed = allowed
        self._limits = limits or DownloadLimits()
        self._environ = environ or {}
        bundle = self._environ.get("REQUESTS_CA_BUNDLE", "")
        self._ca_bundle = ca_bundle or (Path(bundle) if Path(bundle).is_file() else None)
        self._clock = clock

    def fetch(
        self,
        url: str,
        folder: Path,
        *,
        reuse: bool,
        sha256: str | None = None,
        signs_s3: bool = False,
        on_progress: Progress | None = None,
    ) -> Download:
        """Download an archive under the last component of its URL.

        Args:
            url: where from.
            folder: where to; the model store.
            reuse: a file of that name and of the same content is fine; otherwise any file of
                that name is a conflict, and nothing is transferred.
            sha256: digest it must have, in hexadecimal digits.
            signs_s3: sign requests to S3.
            on_progress: told about received bytes; the total is 0 when nobody knows it. What it
                raises ends the download.

        Raises:
            UrlNotAllowed: the URL or one it redirects to is not allowed.
            DownloadFailed: the archive cannot be fetched or stored.
            Conflict: there is another file of that name.
            InvalidArchive: it has another digest.
            InvalidParameter: there are no credentials to sign with, or it is not for S3.
        """
        self._allowed.check(url)
        credentials = self._credentials(url) if signs_s3 else None
        # Networks, servers and disks fail in many ways; the caller cares about one: no archive.
        try:
            target = folder / _file_name(url)
            if target.exists():
                if not reuse:
                    raise _already_exists(target)
                if _is_same_file(url, target):
                    return Download(path=target, is_new=False, is_copy=False)
            with closing(self._open(url, credentials)) as source:
                return self._store(source, target, _Job(url, reuse, sha256, on_progress))
        except (OSError, http.client.HTTPException, ValueError) as error:
            raise _failed(url, _reason(error)) from error

    def _credentials(self, url: str) -> AwsCredentials:
        if _scheme(url) == "file" or not self._may_sign(url):
            raise InvalidParameter(
                f"Parameter s3_sse_kms is for archives in S3; {url} is none.",
                hint="A server that speaks S3 elsewhere has to be named in allowed_urls.",
            )
        return AwsCredentials.of(self._environ)

    def _may_sign(self, url: str) -> bool:
        return is_s3(url) or self._allowed.names_host(url)

    def _store(self, source: Source, target: Path, job: _Job) -> Download:
        descriptor, name = tempfile.mkstemp(prefix=_PART_PREFIX, dir=target.parent)
        part = Path(name)
        try:
            with os.fdopen(descriptor, "wb") as file:
                digest = self._copy(job.url, source, file, job.on_progress)
                os.fchmod(file.fileno(), 0o644)
            check_digest(digest, job.sha256)
            return _install(part, target, digest if job.reuse else None)
        finally:
            part.unlink(missing_ok=True)

    def _copy(
        self, url: str, source: Source, file: BinaryIO, on_progress: Progress | None
    ) -> bytes:
        """Copy and check the size; the SHA-256 digest of what was copied."""
        deadline = self._clock() + self._limits.total_timeout_s
        digest = hashlib.sha256()
        done = 0
        while chunk := source.read(CHUNK_BYTES):
            file.write(chunk)
            digest.update(chunk)
            done += len(chunk)
            if done > self._limits.max_bytes:
                raise _failed(url, f"it is larger than {self._limits.max_bytes} bytes")
            if self._clock() > deadline:
                raise _failed(url, f"it took longer than {self._limits.total_timeout_s} s")
            if on_progress is not None:
                on_progress(done, source.size_bytes or 0)
        if source.size_bytes is not None and done != source.size_bytes:
            raise _failed(url, f"it ended after {done} of {source.size_bytes} bytes")
        return digest.digest()

    def _open(self, url: str, credentials: AwsCredentials | None) -> Source:
        if _scheme(url) == "file":
            return open_file(_local_path(url))
        for _ in range(MAX_REDIRECTS + 1):
            headers = None
            if credentials is not None and self._may_sign(url):
                headers = credentials.sign(url, datetime.datetime.now(datetime.UTC))
            answer = request(
                url,
                timeout_s=self._limits.idle_timeout_s,
                ca_bundle=self._ca_bundle,
                is_host_trusted=self._allowed.names_host(url),
                headers=headers,
            )
            if answer.status == http.HTTPStatus.OK:
                return answer
            answer.close()
            if answer.redirects_to is None:
                raise _failed(url, f"the server answered {answer.status}")
            url = self._follow(url, answer.redirects_to)
        raise _failed(url, f"there were more than {MAX_REDIRECTS} redirects")

    def _follow(self, url: str, location: str) -> str:
        """The URL of a redirect, if it may be followed."""
        target = urljoin(url, location)
        self._allowed.check(target)
        was, now = _scheme(url), _scheme(target)
        if now not in (was, "https"):
            msg = f"{url} redirects from {was} to {now}, which is not allowed."
            raise UrlNotAllowed(msg)
        return target


def _install(part: Path, target: Path, digest: bytes | None) -> Download:
    """Give a complete download its name; with a digest, an equal file may have it already."""
    try:
        # Claims the name: no other download can get between this line and the next.
        target.touch(mode=0o644, exist_ok=False)
    except FileExistsError:
        if digest is None or file_digest(target) != digest:
            raise _already_exists(target) from None
        return Download(path=target, is_new=False)
    try:
        part.replace(target)
    except OSError:
        target.unlink()
        raise
    return Download(path=target)


def check_sha256(wanted: str | None) -> None:
    """Check the form of a digest that somebody asks for.

    Raises:
        InvalidParameter: it is none.
    """
    if wanted is not None and not _SHA256.fullmatch(wanted):
        raise InvalidParameter("Parameter sha256 is not a digest of 64 hexadecimal digits.")


def check_digest(digest: bytes, wanted: str | None) -> None:
    """Compare a SHA-256 digest with the one that was asked for, if any.

    Raises:
        InvalidArchive: it is another one.
    """
    if wanted is not None and digest.hex() != wanted.lower():
        msg = f"The archive has the SHA-256 digest {digest.hex()}, which is not the one in sha256."
        raise InvalidArchive(msg)


def file_digest(path: Path) -> bytes:
    """SHA-256 digest of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").digest()


def _scheme(url: str) -> str:
    return urlsplit(url).scheme.lower()


def _file_name(url: str) -> str:
    name = urlsplit(url).path.rpartition("/")[2]
    if not name or name.startswith("."):
        raise _failed(url, "its last component is no file name")
    return name


def _local_path(url: str) -> Path:
    parts = urlsplit(url)
    if parts.netloc not in ("", "localhost"):
        raise _failed(url, "a file URL has three slashes")
    return Path(unquote(parts.path))


def _is_same_file(url: str, target: Path) -> bool:
    if _scheme(url) != "file":
        return False
    path = _local_path(url)
    return path.exists() and path.samefile(target)


def _reason(error: Exception) -> str:
    """What happened, without the paths that an `OSError` would tell."""
    return (error.strerror if isinstance(error, OSError) else None) or str(error)


def _failed(url: str, reason: str) -> DownloadFailed:
    msg = f"Failed to download archive from: {url} ({reason})."
    return DownloadFailed(msg)


def _already_exists(target: Path) -> Conflict:
    msg = f"Model file already exists: {target.name}."
    hint = "Unregister the model that was fetched under this name, or register the file by name."
    return Conflict(msg, hint=hint)
