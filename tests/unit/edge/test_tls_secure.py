"""TLS between two ends in memory: whatever the pieces, pauses and ends, the protocols above see what was sent."""

from __future__ import annotations

import asyncio
import ssl
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from portico.edge.secure import SecureConnection
from portico.edge.tls import TlsEnded

from ...e2e.edge.pki import Authority, server_context


class Wire:
    """The TCP transport of one end: what is written waits until the test lets it through."""

    def __init__(self) -> None:
        self.sent = b""
        self.reading = True
        self.closing = False
        self.aborted = False
        self.ended = False

    def write(self, data: bytes) -> None:
        self.sent += data

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True

    def is_closing(self) -> bool:
        return self.closing

    def close(self) -> None:
        self.closing = True

    def abort(self) -> None:
        self.closing = self.aborted = True

    def write_eof(self) -> None:
        self.ended = True

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return {"peername": ("192.0.2.1", 4000)}.get(name, default)


class App:
    """The protocol above."""

    def __init__(self, scratch: memoryview) -> None:
        self.scratch = scratch
        self.received = b""
        self.transport: Any = None
        self.events: list[str] = []
        self.error: Exception | None = None
        self.pause_after = -1

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self.events.append("made")

    def get_buffer(self, _: int) -> memoryview:
        return self.scratch

    def buffer_updated(self, size: int) -> None:
        self.received += bytes(self.scratch[:size])
        if 0 <= self.pause_after <= len(self.received):
            self.transport.pause_reading()
            self.pause_after = -1

    def eof_received(self) -> bool:
        self.events.append("eof")
        return False

    def connection_lost(self, error: Exception | None) -> None:
        self.events.append("lost")
        self.error = error

    def pause_writing(self) -> None:
        self.events.append("pause")

    def resume_writing(self) -> None:
        self.events.append("resume")


class Pair:
    """A client and a server, their wires, and the bytes in between."""

    def __init__(self, loop: asyncio.AbstractEventLoop, contexts: tuple[ssl.SSLContext, ssl.SSLContext]) -> None:
        self.loop = loop
        self.scratch = memoryview(bytearray(65536))
        self.apps = [App(self.scratch), App(self.scratch)]
        self.wires = [Wire(), Wire()]
        self.ends = [
            SecureConnection(
                loop, self.apps[side], contexts[side], self.scratch, side == 1, None if side else "a.example"
            )
            for side in (0, 1)
        ]
        for end, wire in zip(self.ends, self.wires, strict=True):
            end.connection_made(wire)

    def turn(self) -> None:
        """Let the loop run what was called soon."""
        self.loop.run_until_complete(asyncio.sleep(0))

    def carry(self, sender: int, size: int = 1 << 30) -> bool:
        """Bring up to `size` bytes from one end to the other, as far as it reads."""
        wire, receiver = self.wires[sender], 1 - sender
        if not wire.sent or not self.wires[receiver].reading or self.wires[receiver].closing:
            return False
        piece, wire.sent = wire.sent[: min(size, 65536)], wire.sent[min(size, 65536) :]
        buffer = self.ends[receiver].get_buffer(-1)
        buffer[: len(piece)] = piece
        self.ends[receiver].buffer_updated(len(piece))
        return True

    def settle(self, size: int = 1 << 30) -> None:
        """Carry until nothing moves."""
        still = 0
        while still < 3:
            still = 0 if any([self.carry(0, size), self.carry(1, size)]) else still + 1
            self.turn()

    def end(self, side: int, error: Exception | None = None) -> None:
        """The TCP connection of one end is over."""
        if error is None:
            self.ends[side].eof_received()
        self.ends[side].connection_lost(error)


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("pki"))


@pytest.fixture(scope="module")
def contexts(authority: Authority) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    return authority.client(), server_context(authority.issue("a", "DNS:a.example"))


@pytest.fixture(scope="module")
def loop() -> Any:
    made = asyncio.new_event_loop()
    yield made
    made.close()


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.binary(max_size=40_000), max_size=8), st.integers(1, 70_000), st.integers(0, 60_000), st.booleans())
def test_any_pieces_and_pauses(
    loop: asyncio.AbstractEventLoop, contexts: Any, pieces: list[bytes], size: int, pause: int, close: bool
) -> None:
    pair = Pair(loop, contexts)
    pair.settle(max(size, 50))
    client, server = pair.apps
    assert (client.events, server.events) == (["made"], ["made"])
    server.pause_after = pause
    for piece in pieces:
        client.transport.write(piece)
    if close:
        client.transport.close()
    pair.settle(max(size, 50))
    whole = b"".join(pieces)
    if not pair.wires[1].reading:
        assert len(server.received) >= pause
        server.transport.resume_reading()
        pair.settle(max(size, 50))
    assert server.received == whole
    assert ("eof" in server.events) is close
    pair.end(1)
    assert server.error is None or (not close and isinstance(server.error, TlsEnded))
    assert server.events[-1] == "lost"


def test_an_end_without_close_notify_is_an_error(loop: asyncio.AbstractEventLoop, contexts: Any) -> None:
    pair = Pair(loop, contexts)
    pair.settle()
    pair.apps[1].transport.write(b"part")
    pair.settle()
    pair.end(0)
    assert pair.apps[0].received == b"part"
    assert isinstance(pair.apps[0].error, TlsEnded)
    assert "eof" not in pair.apps[0].events


def test_an_end_of_our_own_is_none(loop: asyncio.AbstractEventLoop, contexts: Any) -> None:
    pair = Pair(loop, contexts)
    pair.settle()
    pair.apps[0].transport.close()
    assert pair.apps[0].transport.is_closing()
    pair.apps[0].transport.write(b"too late")
    pair.end(0)
    assert pair.apps[0].error is None
    pair.settle()
    assert pair.apps[1].received == b""


def test_half_closing(loop: asyncio.AbstractEventLoop, contexts: Any) -> None:
    pair = Pair(loop, contexts)
    pair.settle()
    server = pair.apps[1]
    server.transport.pause_reading()
    server.transport.write(b"the answer")
    server.transport.write_eof()
    assert (pair.wires[1].ended, pair.wires[1].reading, pair.wires[1].closing) == (True, True, False)
    pair.apps[0].transport.write(b"still talking")
    pair.settle()
    assert pair.apps[0].received == b"the answer"
    assert server.received == b""
    assert "eof" in pair.apps[0].events


def test_damage_ends_the_connection(loop: asyncio.AbstractEventLoop, contexts: Any) -> None:
    pair = Pair(loop, contexts)
    pair.settle()
    pair.apps[0].transport.write(b"a" * 100)
    wire = pair.wires[0]
    wire.sent = wire.sent[:-1] + bytes([wire.sent[-1] ^ 1])
    pair.settle()
    assert pair.wires[1].aborted
    pair.end(1)
    assert isinstance(pair.apps[1].error, ssl.SSLError)
    assert pair.apps[1].received == b""


def test_a_peer_that_leaves_in_the_handshake(loop: asyncio.AbstractEventLoop, contexts: Any) -> None:
    pair = Pair(loop, contexts)
    pair.end(1)
    assert isinstance(pair.ends[1].ready.exception(), ConnectionResetError)
    assert pair.apps[1].events == []


def test_garbage_in_the_handshake_is_answered_with_an_alert(loop: asyncio.AbstractEventLoop, contexts: Any) -> None:
    pair = Pair(loop, contexts)
    pair.wires[0].sent = b"\x16\x03\x01\x00\x05hello"
    pair.settle()
    assert pair.wires[1].closing
    assert pair.wires[0].closing
    assert isinstance(pair.ends[0].failure, ssl.SSLError)
    pair.end(1)
    assert isinstance(pair.ends[1].ready.exception(), ssl.SSLError)


def test_what_the_transport_below_knows(loop: asyncio.AbstractEventLoop, contexts: Any, tmp_path: Path) -> None:
    pair = Pair(loop, contexts)
    pair.settle()
    transport = pair.apps[1].transport
    assert transport.get_extra_info("peername") == ("192.0.2.1", 4000)
    assert transport.get_extra_info("ssl_object").version() == "TLSv1.3"
    assert transport.get_extra_info("nothing", 5) == 5
