"""What is read out of certificates, beside what OpenSSL reads."""

from __future__ import annotations

import hashlib
import ssl
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portico.identity.certificates import read_der, read_pem
from portico.identity.der import DerError, object_identifier, parse

from ...e2e.edge.pki import Authority, openssl


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("pki"))


def test_what_a_certificate_says(authority: Authority) -> None:
    subject = "/C=DE/O=Tests, Inc./OU=A\\+B/emailAddress=a@b.example/CN=Zoë"
    names = [
        "DNS:A.example",
        "DNS:*.b.example",
        "IP:192.0.2.1",
        "IP:2001:db8::1",
        "URI:spiffe://x/y",
        "email:a@b.example",
    ]
    cert, _ = authority.issue("full", *names, subject=subject)
    text = cert.read_text()
    found = read_pem("Some text\n" + text + text)
    assert found.subject == "CN=Zoë,emailAddress=a@b.example,OU=A\\+B,O=Tests\\, Inc.,C=DE"
    assert found.names == tuple(names)
    assert found.hosts == ("a.example", "*.b.example")
    assert found.fingerprint == hashlib.sha256(ssl.PEM_cert_to_DER_cert(text)).hexdigest()
    told = ssl._ssl._test_decode_cert(str(cert))  # type: ignore[attr-defined]
    assert found.expires == ssl.cert_time_to_seconds(told["notAfter"])


def test_a_certificate_without_names(authority: Authority) -> None:
    cert, _ = authority.issue("plain", subject="/CN=Plain.example")
    found = read_pem(cert.read_text())
    assert (found.names, found.hosts, found.subject) == ((), ("plain.example",), "CN=Plain.example")


def test_a_date_beyond_2049(tmp_path: Path) -> None:
    far = tmp_path / "far.pem"
    openssl(
        *("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "20000", "-subj", "/CN=far", "-utf8"),
        *("-keyout", tmp_path / "far.key", "-out", far),
    )
    told = ssl._ssl._test_decode_cert(str(far))  # type: ignore[attr-defined]
    assert read_pem(far.read_text()).expires == ssl.cert_time_to_seconds(told["notAfter"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "holds no certificate in PEM form"),
        ("-----BEGIN CERTIFICATE-----\nMAA=\n-----END CERTIFICATE-----", "holds a certificate that can't be read"),
        ("-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----", "holds a certificate that can't be read"),
    ],
)
def test_what_is_no_certificate(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_pem(text)


@given(data=st.data())
def test_damaged_certificates_are_refused_or_read(data: st.DataObject, authority: Authority) -> None:
    der = bytearray(ssl.PEM_cert_to_DER_cert(authority.cert.read_text()))
    for _ in range(data.draw(st.integers(1, 4))):
        der[data.draw(st.integers(0, len(der) - 1))] = data.draw(st.integers(0, 255))
    try:
        found = read_der(bytes(der[: data.draw(st.integers(0, len(der)))]))
    except ValueError:
        return  # any other error fails the test
    assert len(found.fingerprint) == 64


@given(st.binary(max_size=60))
def test_any_bytes_are_der_or_not(data: bytes) -> None:
    try:
        found = parse(data)
    except DerError:
        return
    assert len(found.content) < len(data)


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (b"\x55\x04\x03", "2.5.4.3"),
        (b"\x2a\x86\x48\x86\xf7\x0d\x01\x09\x01", "1.2.840.113549.1.9.1"),
        (b"\x88\x37", "2.999"),
    ],
)
def test_object_identifiers(content: bytes, text: str) -> None:
    assert object_identifier(content) == text
