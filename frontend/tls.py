"""The server's certificate: from PEM files or a PKCS12 key store to a TLS context.

The configuration keys are TorchServe's (inference-api, section 8). Its two cipher suites and TLS
1.2 only are not kept: TLS 1.2 and 1.3 with the suites that have forward secrecy and authenticated
encryption. A client that TorchServe could serve with AES-GCM can be served here.

`Certificate.refresh` looks whether the files have changed, so that a renewed certificate is used
without a restart.
"""

from __future__ import annotations

import contextlib
import logging
import os
import ssl
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from tsl.protocol.errors import ConfigError

logger = logging.getLogger(__name__)

TLS_1_2_SUITES: Final = "ECDHE+AESGCM:ECDHE+CHACHA20"
_JKS_MAGIC: Final = b"\xfe\xed\xfe\xed"
_PKCS12_NAMES: Final = ("PKCS12", "P12", "PFX")
_HOW_TO: Final = (
    "Set private_key_file and certificate_file (PEM), or keystore and keystore_pass (PKCS12). For "
    "a first try: openssl req -x509 -newkey rsa:2048 -nodes -days 365 -subj /CN=localhost "
    "-keyout key.pem -out cert.pem"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class KeyMaterial:
    """Where the certificate is.

    Attributes:
        keystore: a key store; beats the next two.
        keystore_pass: its password.
        keystore_type: its format.
        private_key_file: PEM, PKCS#8 or PKCS#1.
        certificate_file: PEM, the server's own certificate first.
    """

    keystore: Path | None = None
    keystore_pass: str = ""
    keystore_type: str = "PKCS12"
    private_key_file: Path | None = None
    certificate_file: Path | None = None

    def files(self) -> tuple[Path, ...]:
        """The files that count.

        Raises:
            ConfigError: there are none.
        """
        if self.keystore is not None:
            return (self.keystore,)
        if self.private_key_file is None or self.certificate_file is None:
            missing = [
                name
                for name in ("private_key_file", "certificate_file")
                if getattr(self, name) is None
            ]
            msg = (
                f"An https:// address needs a certificate, but {' and '.join(missing)} is not set."
            )
            raise ConfigError(msg, _HOW_TO)
        return (self.private_key_file, self.certificate_file)

    def load_into(self, context: ssl.SSLContext) -> None:
        """Give a context the key and the certificate chain.

        Raises:
            ConfigError: they cannot be read or used.
        """
        if self.keystore is not None:
            _load_keystore(context, self.keystore, self.keystore_type, self.keystore_pass)
        else:
            key, certificate = self.files()
            _load_pem(context, key, certificate)


class Certificate:
    """The certificate of all listeners with ``https``.

    Args:
        material: where it is.
        protocol: what clients may ask for by ALPN.

    Attributes:
        context: for the connections; a refresh changes it for those that come later.

    Raises:
        ConfigError: the certificate cannot be used.
    """

    def __init__(self, material: KeyMaterial, protocol: str = "http/1.1") -> None:
        self._material = material
        self._files = material.files()
        self._seen = self._changing = self._stamps()
        self.context = new_context()
        self.context.set_alpn_protocols([protocol])
        material.load_into(self.context)

    def refresh(self) -> None:
        """Use the files anew when they have changed, and stay the same from one call to the next.

        If they are no good, what there was is used on.
        """
        seen = self._stamps()
        if seen == self._seen or None in seen:
            return
        if seen != self._changing:
            self._changing = seen  # whoever writes them may not be done with both
            return
        self._seen = seen
        try:
            self._material.load_into(new_context())  # half a pair must not reach the real one
            self._material.load_into(self.context)
        except ConfigError as error:
            logger.error("The certificate has changed and cannot be used: %s", error)  # noqa: TRY400
        else:
            logger.info("The certificate has changed and is used from now on")

    def _stamps(self) -> list[tuple[int, int] | None]:
        return [_stamp(path) for path in self._files]


def new_context() -> ssl.SSLContext:
    """A context for the server's side, without a certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(TLS_1_2_SUITES)
    context.options |= ssl.OP_NO_RENEGOTIATION | ssl.OP_CIPHER_SERVER_PREFERENCE
    return context


def _load_pem(context: ssl.SSLContext, key: Path, certificate: Path) -> None:
    def refuse_password() -> str:
        msg = f"private_key_file={key} is encrypted."
        raise ConfigError(
            msg, f"Decrypt it, openssl pkey -in {key} -out plain.pem, or use a PKCS12 key store."
        )

    for name, path in (("private_key_file", key), ("certificate_file", certificate)):
        _check_readable(name, path)
    try:
        # Without a function here OpenSSL would ask for the password on the terminal.
        context.load_cert_chain(certificate, key, refuse_password)
    except (ssl.SSLError, OSError) as error:
        msg = (
            f"private_key_file={key} and certificate_file={certificate} are not a PEM key and its "
            f"certificate: {_reason(error)}."
        )
        raise ConfigError(msg) from error


def _load_keystore(context: ssl.SSLContext, path: Path, kind: str, password: str) -> None:
    # Imported here: only who has a key store pays for it.
    from cryptography.hazmat.primitives.serialization import (
        Encoding,
        NoEncryption,
        PrivateFormat,
        pkcs12,
    )

    _check_readable("keystore", path)
    data = path.read_bytes()
    if kind.upper() not in _PKCS12_NAMES or data.startswith(_JKS_MAGIC):
        found = "JKS" if data.startswith(_JKS_MAGIC) else kind
        msg = f"keystore={path} is of the type {found}, which only Java reads."
        raise ConfigError(
            msg,
            f"Convert it: keytool -importkeystore -srckeystore {path} -destkeystore "
            f"{path.with_suffix('.p12')} -deststoretype PKCS12. Then set keystore to the new file "
            "and keystore_type=PKCS12.",
        )
    try:
        key, certificate, chain = pkcs12.load_key_and_certificates(data, password.encode())
    except ValueError as error:
        msg = f"keystore={path} cannot be opened: it is no PKCS12 file, or keystore_pass is wrong."
        raise ConfigError(msg) from error
    if key is None or certificate is None:
        msg = f"keystore={path} holds no private key with a certificate."
        raise ConfigError(msg)
    pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    pem += b"".join(each.public_bytes(Encoding.PEM) for each in (certificate, *chain))
    with _in_memory(pem) as file:
        try:
            context.load_cert_chain(file)
        except ssl.SSLError as error:
            msg = f"keystore={path} cannot be used: {_reason(error)}."
            raise ConfigError(msg) from error


@contextlib.contextmanager
def _in_memory(content: bytes) -> Iterator[str]:
    """A path that leads to some bytes: `ssl` reads files only, and a key is not to be on a disk."""
    descriptor = os.memfd_create("key")
    try:
        with os.fdopen(os.dup(descriptor), "wb") as file:
            file.write(content)
        yield f"/proc/self/fd/{descriptor}"
    finally:
        os.close(descriptor)


def _check_readable(name: str, path: Path) -> None:
    try:
        path.open("rb").close()
    except OSError as error:
        msg = f"{name}={path} cannot be read: {error.strerror}."
        raise ConfigError(msg) from error


def _stamp(path: Path) -> tuple[int, int] | None:
    """What changes when a file does; None while it is not there."""
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_ino


def _reason(error: Exception) -> str:
    return getattr(error, "reason", "") or str(error)
