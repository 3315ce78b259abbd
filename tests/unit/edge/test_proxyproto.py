"""The PROXY protocol's header, in any pieces, with whatever follows it."""

from __future__ import annotations

import ipaddress
import socket
import struct
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from portico.edge.proxyproto import SIGNATURE, HeaderReader, ProxyHeaderError


def version_2(command: int, family: int, block: bytes) -> bytes:
    return SIGNATURE + bytes([command, family]) + struct.pack(">H", len(block)) + block


def addresses(source: str, destination: str = "", ports: tuple[int, int] = (1024, 443)) -> bytes:
    destination = destination or source
    packed = ipaddress.ip_address(source).packed + ipaddress.ip_address(destination).packed
    return packed + struct.pack(">HH", *ports)


GOOD = {
    b"PROXY TCP4 192.0.2.1 198.51.100.1 65535 0\r\n": b"192.0.2.1",
    b"PROXY TCP6 2001:DB8:0::1 ::1 1 2\r\n": b"2001:db8::1",
    b"PROXY UNKNOWN\r\n": None,
    b"PROXY UNKNOWN ffff:f...f:ffff ffff:f...f:ffff 65535 65535\r\n": None,
    version_2(0x21, 0x11, addresses("192.0.2.1")): b"192.0.2.1",
    version_2(0x21, 0x21, addresses("2001:db8::1")): b"2001:db8::1",
    version_2(0x21, 0x11, addresses("192.0.2.1") + b"\x04\x00\x03abc"): b"192.0.2.1",
    version_2(0x21, 0x31, b"\x00" * 216): None,
    version_2(0x21, 0x00, b""): None,
    version_2(0x20, 0x00, b""): None,
    version_2(0x20, 0x11, addresses("192.0.2.1")): None,
}
BAD = [
    b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\x00\x00\x00\x00\x00\x00",
    b"PROXY TCP4 192.0.2.1 198.51.100.1 65535\r\n",
    b"PROXY TCP4 192.0.2.1 198.51.100.1 65536 1\r\n",
    b"PROXY TCP4 192.0.2.1 198.51.100.1 01 1\r\n",
    b"PROXY TCP4 192.0.2.1 198.51.100.1 -1 1\r\n",
    b"PROXY TCP4 192.0.2.256 198.51.100.1 1 1\r\n",
    b"PROXY TCP4 2001:db8::1 198.51.100.1 1 1\r\n",
    b"PROXY TCP6 fe80::1%eth0 ::1 1 1\r\n",
    b"PROXY TCP4  192.0.2.1 198.51.100.1 1 1\r\n",
    b"PROXY TCP4 192.0.2.1 198.51.100.1 1 1 \r\n",
    b"PROXY UDP4 192.0.2.1 198.51.100.1 1 1\r\n",
    b"PROXY \r\n",
    b"proxy TCP4 192.0.2.1 198.51.100.1 1 1\r\n",
    b"PROXY TCP4 " + b"1" * 200,
    SIGNATURE[:11] + b"\r" + b"\x21\x11\x00\x0c" + addresses("192.0.2.1"),
    version_2(0x11, 0x11, addresses("192.0.2.1")),
    version_2(0x22, 0x11, addresses("192.0.2.1")),
    version_2(0x21, 0x13, addresses("192.0.2.1")),
    version_2(0x21, 0x11, addresses("192.0.2.1")[:11]),
    version_2(0x21, 0x21, addresses("192.0.2.1")),
    SIGNATURE + b"\x21\x11" + struct.pack(">H", 4097),
]


@pytest.fixture
def ends() -> Iterator[tuple[socket.socket, socket.socket]]:
    """A sender and a receiver that does not block."""
    sender, receiver = socket.socketpair()
    receiver.setblocking(False)
    with sender, receiver:
        yield sender, receiver


@pytest.mark.parametrize(("header", "peer"), GOOD.items())
@pytest.mark.parametrize("step", [1, 5, 13, 1000])
def test_good_headers(ends: tuple[socket.socket, socket.socket], header: bytes, peer: bytes | None, step: int) -> None:
    sender, receiver = ends
    reader = HeaderReader(receiver)
    stream = header + b"\x16\x03\x01 whatever follows\r\n"
    done = False
    at = 0
    while not done:
        sender.sendall(stream[at : at + step])
        at += step
        done = reader.read()
    assert at - step < len(header)
    sender.sendall(stream[at:])
    assert receiver.recv(1000) == b"\x16\x03\x01 whatever follows\r\n"
    assert reader.peer == peer


@pytest.mark.parametrize("header", BAD)
@pytest.mark.parametrize("step", [1, 1000])
def test_bad_headers(ends: tuple[socket.socket, socket.socket], header: bytes, step: int) -> None:
    sender, receiver = ends
    reader = HeaderReader(receiver)

    def play() -> None:
        for at in range(0, len(header), step):
            sender.sendall(header[at : at + step])
            assert not reader.read()

    with pytest.raises(ProxyHeaderError):
        play()


def test_a_connection_that_ends(ends: tuple[socket.socket, socket.socket]) -> None:
    sender, receiver = ends
    reader = HeaderReader(receiver)
    assert not reader.read()
    sender.sendall(b"PROXY TCP4 ")
    assert not reader.read()
    sender.shutdown(socket.SHUT_WR)
    with pytest.raises(ProxyHeaderError, match="ended before"):
        reader.read()


def test_a_connection_that_says_nothing(ends: tuple[socket.socket, socket.socket]) -> None:
    sender, receiver = ends
    sender.close()
    with pytest.raises(ConnectionResetError):
        HeaderReader(receiver).read()


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from([b"", b"PROXY ", b"PROXY TCP4 ", SIGNATURE, SIGNATURE + b"\x21\x11"]), st.binary(max_size=300))
def test_any_bytes_end_soon(beginning: bytes, rest: bytes) -> None:
    sender, receiver = socket.socketpair()
    receiver.setblocking(False)
    with sender, receiver:
        sender.sendall(beginning + rest)
        sender.shutdown(socket.SHUT_WR)
        reader = HeaderReader(receiver)
        try:
            assert reader.read()
        except (ProxyHeaderError, ConnectionResetError):
            assert len(reader.data) <= 4096 + 16
