"""Keys and certificates for tests, made on the spot."""

import datetime
import ipaddress

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    NoEncryption,
    PrivateFormat,
    pkcs12,
)

FORMATS = {"pkcs8": PrivateFormat.PKCS8, "pkcs1": PrivateFormat.TraditionalOpenSSL}


class Identity:
    """A key and its self-signed certificate for localhost and 127.0.0.1.

    Args:
        folder: where files are written.
        name: of the files, and the common name.
        kind: ``rsa`` or ``ec``.
    """

    def __init__(self, folder, name="server", kind="ec"):
        self.folder = folder
        self.name = name
        self.key = (
            rsa.generate_private_key(public_exponent=65537, key_size=2048)
            if kind == "rsa"
            else ec.generate_private_key(ec.SECP256R1())
        )
        subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
        now = datetime.datetime.now(datetime.UTC)
        names = [x509.DNSName("localhost"), x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]
        self.certificate = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(subject)
            .public_key(self.key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=1))
            .not_valid_after(now + datetime.timedelta(days=1))
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
            .sign(self.key, hashes.SHA256())
        )

    @property
    def der(self):
        """The certificate as a client sees it."""
        return self.certificate.public_bytes(Encoding.DER)

    def write_pem(self, *, form="pkcs8", password=None):
        """Write both files; returns the key's and the certificate's path."""
        secrecy = BestAvailableEncryption(password) if password else NoEncryption()
        key = self.folder / f"{self.name}.key"
        certificate = self.folder / f"{self.name}.pem"
        key.write_bytes(self.key.private_bytes(Encoding.PEM, FORMATS[form], secrecy))
        certificate.write_bytes(self.certificate.public_bytes(Encoding.PEM))
        return key, certificate

    def write_pkcs12(self, password=b"changeit"):
        """Write a key store; returns its path."""
        path = self.folder / f"{self.name}.p12"
        path.write_bytes(
            pkcs12.serialize_key_and_certificates(
                b"1", self.key, self.certificate, None, BestAvailableEncryption(password)
            )
        )
        return path
