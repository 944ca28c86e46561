"""Certificates from files, and handshakes in memory."""

from __future__ import annotations

import os
import ssl
from pathlib import Path

import pytest
from certificates import Identity

from tsl.frontend.tls import Certificate, KeyMaterial, new_context
from tsl.protocol.errors import ConfigError


def handshake(server, **client_settings):
    """Shake hands in memory; returns the client's side when it is done."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    for name, value in client_settings.items():
        if name == "ciphers":
            context.set_ciphers(value)
        elif name == "alpn":
            context.set_alpn_protocols(value)
        else:
            setattr(context, name, value)
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = context.wrap_bio(to_client, to_server)
    other = server.wrap_bio(to_server, to_client, server_side=True)
    waiting = [client, other]
    for _ in range(20):
        for side in list(waiting):
            try:
                side.do_handshake()
                waiting.remove(side)
            except ssl.SSLWantReadError:
                continue
        if not waiting:
            return client
    raise AssertionError("the handshake does not end")


@pytest.fixture
def identity(tmp_path):
    return Identity(tmp_path)


def pem(identity, **options):
    key, certificate = identity.write_pem(**options)
    return KeyMaterial(private_key_file=key, certificate_file=certificate)


def shown_by(certificate):
    return handshake(certificate.context).getpeercert(binary_form=True)


@pytest.mark.parametrize("kind", ["rsa", "ec"])
@pytest.mark.parametrize("form", ["pkcs8", "pkcs1"])
def test_pem_files_are_used(tmp_path, kind, form):
    identity = Identity(tmp_path, kind=kind)

    assert shown_by(Certificate(pem(identity, form=form))) == identity.der


@pytest.mark.parametrize("kind", ["PKCS12", "pkcs12", "P12"])
def test_a_key_store_is_used_and_beats_pem_files(tmp_path, identity, kind):
    other = Identity(tmp_path, "other")
    key, certificate = other.write_pem()

    used = Certificate(
        KeyMaterial(
            keystore=identity.write_pkcs12(b"open sesame"),
            keystore_pass="open sesame",
            keystore_type=kind,
            private_key_file=key,
            certificate_file=certificate,
        )
    )

    assert shown_by(used) == identity.der


def test_no_key_reaches_a_disk(identity, monkeypatch, tmp_path):
    path = identity.write_pkcs12()
    before = set(tmp_path.iterdir())
    descriptors = len(list(Path("/proc/self/fd").iterdir()))
    monkeypatch.setenv("TMPDIR", str(tmp_path))

    Certificate(KeyMaterial(keystore=path, keystore_pass="changeit"))

    assert set(tmp_path.iterdir()) == before
    assert len(list(Path("/proc/self/fd").iterdir())) == descriptors


@pytest.mark.parametrize(
    ("make", "problem"),
    [
        pytest.param(
            lambda _: KeyMaterial(),
            "private_key_file and certificate_file is not set",
            id="nothing",
        ),
        pytest.param(
            lambda i: KeyMaterial(private_key_file=i.write_pem()[0]),
            "certificate_file is not set",
            id="half of it",
        ),
        pytest.param(
            lambda i: KeyMaterial(
                private_key_file=i.write_pem()[0], certificate_file=i.folder / "gone"
            ),
            "certificate_file=.*gone cannot be read: No such file",
            id="not there",
        ),
        pytest.param(
            lambda i: KeyMaterial(
                private_key_file=Identity(i.folder, "x").write_pem()[0],
                certificate_file=i.write_pem()[1],
            ),
            "KEY_VALUES_MISMATCH",
            id="another's key",
        ),
        pytest.param(
            lambda i: pem(i, password=b"secret"),
            "is encrypted",
            id="encrypted",
        ),
        pytest.param(
            lambda i: KeyMaterial(
                private_key_file=i.write_pem()[1], certificate_file=i.write_pem()[1]
            ),
            "are not a PEM key",
            id="no key",
        ),
        pytest.param(
            lambda i: KeyMaterial(keystore=i.write_pkcs12(), keystore_pass="wrong"),
            "keystore_pass is wrong",
            id="wrong password",
        ),
        pytest.param(
            lambda i: KeyMaterial(keystore=i.write_pem()[1], keystore_pass="x"),
            "no PKCS12 file",
            id="no key store",
        ),
        pytest.param(
            lambda i: KeyMaterial(keystore=i.write_pkcs12(), keystore_type="JKS"),
            "type JKS",
            id="jks by its type",
        ),
        pytest.param(
            lambda i: KeyMaterial(keystore=java_key_store(i.folder)),
            "type JKS",
            id="jks by its content",
        ),
    ],
)
def test_what_cannot_be_used_is_refused_with_its_reason(identity, make, problem):
    with pytest.raises(ConfigError, match=problem) as caught:
        Certificate(make(identity))

    text = str(caught.value)
    assert "secret" not in text
    assert "JKS" not in problem or "keytool -importkeystore" in text


def java_key_store(folder):
    path = folder / "store.jks"
    path.write_bytes(b"\xfe\xed\xfe\xed\x00\x00\x00\x02")
    return path


@pytest.mark.parametrize(
    "settings",
    [
        {"maximum_version": ssl.TLSVersion.TLSv1_2},
        {"minimum_version": ssl.TLSVersion.TLSv1_3},
        {"maximum_version": ssl.TLSVersion.TLSv1_2, "ciphers": "ECDHE-ECDSA-AES128-GCM-SHA256"},
    ],
    ids=str,
)
def test_present_clients_are_served(identity, settings):
    client = handshake(Certificate(pem(identity)).context, alpn=["h2", "http/1.1"], **settings)

    assert client.selected_alpn_protocol() == "http/1.1"


@pytest.mark.parametrize(
    "ciphers",
    ["ECDHE-ECDSA-AES128-SHA:@SECLEVEL=0", "AES128-GCM-SHA256", "ECDHE-ECDSA-AES256-SHA384"],
)
def test_old_suites_are_refused(identity, ciphers):
    server = Certificate(pem(identity)).context

    with pytest.raises(ssl.SSLError):
        handshake(server, maximum_version=ssl.TLSVersion.TLSv1_2, ciphers=ciphers)


@pytest.mark.filterwarnings("ignore:ssl.TLSVersion.TLSv1_1 is deprecated:DeprecationWarning")
def test_old_versions_are_refused():
    assert new_context().minimum_version == ssl.TLSVersion.TLSv1_2


# -- renewing --------------------------------------------------------------------------------------------


def replace(identity, folder):
    """Another certificate takes the place of the first."""
    other = Identity(folder, identity.name)
    for path in other.write_pem():
        os.utime(path, ns=(0, path.stat().st_mtime_ns + 10**9))
    return other


def test_a_renewed_certificate_is_used_once_its_files_are_at_rest(identity, tmp_path):
    certificate = Certificate(pem(identity))
    other = replace(identity, tmp_path)

    certificate.refresh()
    assert shown_by(certificate) == identity.der
    certificate.refresh()
    assert shown_by(certificate) == other.der


def test_half_a_renewal_changes_nothing(identity, tmp_path, caplog):
    certificate = Certificate(pem(identity))
    key = tmp_path / "server.key"
    old_key = key.read_bytes()
    other = replace(identity, tmp_path)
    key.write_bytes(old_key)

    for _ in range(3):
        certificate.refresh()

    assert len(caplog.records) == 1
    assert "cannot be used" in caplog.text
    assert shown_by(certificate) == identity.der
    other.write_pem()
    for _ in range(2):
        certificate.refresh()
    assert shown_by(certificate) == other.der


def test_files_that_are_away_for_a_moment_are_no_change(identity, tmp_path):
    certificate = Certificate(pem(identity))
    (tmp_path / "server.key").rename(tmp_path / "elsewhere")

    for _ in range(3):
        certificate.refresh()

    assert shown_by(certificate) == identity.der
