"""TLS, in and out, over real sockets."""

from __future__ import annotations

import hashlib
import socket
import ssl
import struct
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from portico.errors import ConfigError
from portico.testing import FakeUpstream, GatewayHarness
from portico.testing.client import Answer, Reader, request_bytes
from portico.testing.upstream import response, wait_for

from .pki import METRICS, Authority, Pair, connect, count, files, install, shown

REQUEST = b"GET /x HTTP/1.1\r\nHost: a.example\r\n\r\n"


def config(tls: dict[str, Any], upstream: FakeUpstream, **server: Any) -> dict[str, Any]:
    return {
        "server": {"tls": tls, **server},
        "upstreams": {"up": {"targets": [upstream.url]}},
        "routes": [{"name": "all", "paths": ["/*"], "upstream": "up"}],
    }


def get(sock: ssl.SSLSocket) -> Answer:
    sock.sendall(REQUEST)
    return Reader(sock).answer()


@pytest.fixture(scope="module")
def secure(mode: bool, shared_upstream: FakeUpstream, authority: Authority, pair: Pair) -> Iterator[GatewayHarness]:
    """A gateway with three certificates, that asks for client certificates and takes who has none."""
    others = [authority.issue("b", "DNS:b.example"), authority.issue("wild", "DNS:*.wild.example")]
    tls = {
        **files(pair),
        "certificates": [files(other) for other in others],
        "client_ca": str(authority.cert),
        "client_auth": "optional",
    }
    with GatewayHarness(config(tls, shared_upstream, listen=METRICS), compiled=mode) as gateway:
        yield gateway


def test_a_request_over_tls(secure: GatewayHarness, upstream: FakeUpstream, authority: Authority) -> None:
    context = authority.client()
    context.set_alpn_protocols(["h2", "http/1.1"])
    with connect(secure, context) as sock:
        assert (sock.version(), sock.selected_alpn_protocol()) == ("TLSv1.3", "http/1.1")
        for _ in range(3):
            assert get(sock).status == 200
    for seen in upstream.requests:
        assert seen.header("X-Forwarded-Proto") == "https"
        assert seen.header("Forwarded") == 'for=127.0.0.1;host="a.example";proto=https'
        assert seen.connection == upstream.requests[0].connection


@pytest.mark.parametrize(
    ("name", "subject"),
    [("a.example", "a"), ("b.example", "b"), ("B.example", "b"), ("x.wild.example", "wild"), ("nobody.example", "a")],
)
def test_the_certificate_is_chosen_by_name(
    secure: GatewayHarness, authority: Authority, name: str, subject: str
) -> None:
    context = authority.client()
    context.check_hostname = False
    with connect(secure, context, name) as sock:
        assert shown(sock) == subject


def test_old_versions_are_refused(secure: GatewayHarness, authority: Authority) -> None:
    context = authority.client()
    context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_2
    with connect(secure, context) as sock:
        assert sock.version() == "TLSv1.2"
        assert get(sock).status == 200
    context.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.deprecated_call():
        context.minimum_version = context.maximum_version = ssl.TLSVersion.TLSv1_1
    with pytest.raises(ssl.SSLError, match=r"(?i)protocol.version"):
        connect(secure, context)


@pytest.mark.parametrize(
    "garbage",
    [
        REQUEST,
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\xff" * 600,
        b"\x00" * 4096,
        b"\x16\x03\x01\xff\xff",
    ],
    ids=["plain HTTP", "a mad hello", "zeros", "a record too long"],
)
def test_garbage_is_closed_and_counted(secure: GatewayHarness, garbage: bytes) -> None:
    before = count(secure, "portico_tls_handshake_failed")
    assert b"HTTP/1.1" not in secure.raw(garbage, timeout=3.0)
    wait_for(lambda: count(secure, "portico_tls_handshake_failed") == before + 1)
    assert "Traceback" not in secure.output()


@pytest.mark.parametrize("reset", [False, True])
def test_a_client_that_vanishes_in_the_handshake(secure: GatewayHarness, authority: Authority, reset: bool) -> None:
    before = count(secure, "portico_tls_handshake_failed")
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    hello = authority.client().wrap_bio(incoming, outgoing, server_hostname="a.example")
    with pytest.raises(ssl.SSLWantReadError):
        hello.do_handshake()
    for part in (b"", outgoing.read(100)):
        with secure.connect() as sock:
            sock.sendall(part)
            if reset:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    wait_for(lambda: count(secure, "portico_tls_handshake_failed") == before + 2)
    with connect(secure, authority.client()) as again:
        assert get(again).status == 200
    assert "Traceback" not in secure.output()


def test_a_client_certificate_is_known(secure: GatewayHarness, upstream: FakeUpstream, authority: Authority) -> None:
    alice = authority.issue("alice", "DNS:alice.example", "email:alice@a.example", subject="/O=Tests, Inc./CN=alice")
    with connect(secure, authority.client(alice)) as sock:
        assert get(sock).status == 200
        assert get(sock).status == 200
    with connect(secure, authority.client()) as sock:
        assert get(sock).status == 200
    wait_for(lambda: any("tls" in line for line in secure.access_log()))
    lines = [line for line in secure.access_log() if "tls" in line]
    fingerprint = ssl.PEM_cert_to_DER_cert(alice[0].read_text())
    assert len(lines) == 2
    assert lines[0]["tls"]["subject"] == "CN=alice,O=Tests\\, Inc."
    assert lines[0]["tls"]["fingerprint"] == hashlib.sha256(fingerprint).hexdigest()
    wait_for(lambda: "tls" not in secure.access_log()[-1])


def test_a_stranger_is_refused(secure: GatewayHarness, authority: Authority, stranger: Authority) -> None:
    mallory = stranger.issue("mallory", "DNS:mallory.example")
    with pytest.raises(ssl.SSLError, match=r"(?i)unknown.ca"), connect(secure, authority.client(mallory)) as sock:
        get(sock)
    wait_for(lambda: "a TLS handshake failed" in secure.output())


def test_bodies_both_ways(secure: GatewayHarness, upstream: FakeUpstream, authority: Authority) -> None:
    body = bytes(range(256)) * 4096
    upstream.handler = lambda request, _: response(200, request.body)
    with connect(secure, authority.client()) as sock:
        for _ in range(2):
            sock.sendall(request_bytes("POST", "/", "a", {"Connection": "x"}, body))
            assert Reader(sock).answer().body == body


def test_an_early_answer_survives_the_rest_of_the_body(secure: GatewayHarness, authority: Authority) -> None:
    with connect(secure, authority.client()) as sock:
        sock.sendall(b"POST / HTTP/1.1\r\nHost: a.example\r\nContent-Length: 99999999\r\n\r\n" + b"x" * 200_000)
        answer = Reader(sock).answer()
        assert (answer.status, answer.json()["code"]) == (413, "body_too_large")
        assert sock.recv(10) == b""  # close_notify: a clean end


def test_a_clean_end(secure: GatewayHarness, authority: Authority) -> None:
    context = authority.client()
    with connect(secure, context) as sock:
        sock.suppress_ragged_eofs = False
        sock.sendall(request_bytes("GET", "/", "a.example"))
        assert Reader(sock).answer().status == 200
        assert sock.recv(1) == b""


def test_many_connections_one_after_the_other(secure: GatewayHarness, authority: Authority) -> None:
    context = authority.client()
    failed = count(secure, "portico_tls_handshake_failed")
    for _ in range(100):
        with connect(secure, context) as sock:
            assert get(sock).status == 200
    assert count(secure, "portico_tls_handshake_failed") == failed


@pytest.mark.long
def test_a_thousand_connections_one_after_the_other(secure: GatewayHarness, authority: Authority) -> None:
    for _ in range(10):
        test_many_connections_one_after_the_other(secure, authority)


def test_a_hundred_connections_at_once(secure: GatewayHarness, authority: Authority) -> None:
    context = authority.client()
    statuses: list[int] = []

    def one() -> None:
        with connect(secure, context) as sock:
            for _ in range(3):
                statuses.append(get(sock).status)

    threads = [threading.Thread(target=one, daemon=True) for _ in range(100)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert statuses == [200] * 300


def test_certificates_are_read_again(
    mode: bool, shared_upstream: FakeUpstream, authority: Authority, tmp_path: Path
) -> None:
    first, second = authority.issue("first", "DNS:a.example"), authority.issue("second", "DNS:a.example")
    used = (tmp_path / "cert.pem", tmp_path / "key.pem")

    install(first, used)
    with (
        GatewayHarness(config(files(used), shared_upstream), compiled=mode) as gateway,
        connect(gateway, authority.client()) as old,
    ):
        assert (shown(old), get(old).status) == ("first", 200)
        install(second, used)
        gateway.reload()
        with connect(gateway, authority.client()) as new:
            assert (shown(new), get(new).status) == ("second", 200)
        used[1].write_bytes(first[1].read_bytes())
        with pytest.raises(ConfigError, match=r"server\.tls\.key: .*key\.pem is not the key of the certificate"):
            gateway.reload()
        with connect(gateway, authority.client()) as new:
            assert (shown(new), get(new).status) == ("second", 200)
        assert get(old).status == 200


def test_slow_handshakes_end_and_do_not_block(
    mode: bool, shared_upstream: FakeUpstream, authority: Authority, pair: Pair
) -> None:
    limits = {"header_timeout": "500ms"}
    with GatewayHarness(config(files(pair), shared_upstream, limits=limits, listen=METRICS), compiled=mode) as gateway:
        began = time.monotonic()
        silent = [gateway.connect() for _ in range(50)]
        with connect(gateway, authority.client()) as sock:
            assert get(sock).status == 200
        for sock in silent:
            assert sock.recv(1) == b""
            sock.close()
        assert 0.4 < time.monotonic() - began < 5
        assert count(gateway, "portico_tls_handshake_failed") == 50


def test_required_client_certificates(
    mode: bool, shared_upstream: FakeUpstream, authority: Authority, pair: Pair
) -> None:
    tls = {**files(pair), "client_ca": str(authority.cert), "client_auth": "required"}
    with GatewayHarness(config(tls, shared_upstream), compiled=mode) as gateway:
        with connect(gateway, authority.client(authority.issue("bob", "DNS:bob.example"))) as sock:
            assert get(sock).status == 200
        with (
            pytest.raises(ssl.SSLError, match=r"(?i)certificate.required"),
            connect(gateway, authority.client()) as sock,
        ):
            get(sock)


def test_files_that_can_not_be_used(
    authority: Authority, pair: Pair, shared_upstream: FakeUpstream, tmp_path: Path
) -> None:
    other = authority.issue("other-key", "DNS:a.example")
    empty = tmp_path / "empty.pem"
    empty.write_text("nothing")
    broken: dict[str, Any] = {
        "server": {
            "tls": {"cert": str(pair[0]), "key": str(other[1]), "client_ca": str(empty), "client_auth": "optional"},
            "listen": [
                {"host": "127.0.0.1", "port": 0, "tls": {"cert": "missing.pem"}},
                {"host": "::1", "port": 0, "tls": {**files(pair), "certificates": [{"cert": str(empty)}]}},
            ],
        },
        "upstreams": {"up": {"targets": ["https://a.example"], "tls": {"ca": str(empty)}}},
    }
    with GatewayHarness({}, wait=False) as gateway:
        path = gateway.directory / "wrong.yaml"
        path.write_text(yaml.safe_dump(broken))
        told = gateway.cli("check", str(path))
        gateway.stop()
    assert told.returncode == 3
    lines = [line.partition(": ")[2] for line in told.stderr.splitlines() if ".yaml:" in line]
    assert lines == [
        f"server.tls.client_ca: {empty} holds no certificates in PEM form, or damaged ones",
        f"server.listen[0].tls.cert: {path.parent}/missing.pem: there is no such file",
        f"server.listen[1].tls.certificates[0].cert: {empty} holds no certificate in PEM form",
        f"upstreams.up.tls.ca: {empty} holds no certificates in PEM form, or damaged ones",
    ]
