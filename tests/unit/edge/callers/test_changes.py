"""The stream of changes: whatever is wrong with it, keys are still asked for, and it begins anew."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import time
from array import array
from collections.abc import Callable
from typing import Any

import pytest
from tests.unit.edge.callers.conftest import Desk
from tests.unit.edge.callers.peer import INTERNAL, Peer, digest, folder, wanted

from portico.edge.callers import changes
from portico.edge.callers.book import Book
from portico.edge.callers.wire import Wire, read_head
from portico.errors import ServicesAway
from portico.identity.apikeys import generate

Beside = Callable[..., None]


@pytest.mark.parametrize(
    "line",
    [b"nonsense\n", b"[]\n", b'{"type":"key"}\n', b'{"type":"beat","clock":"x"}\n', b'{"type":"key","sha256":"zz"}\n'],
)
def test_a_stream_that_can_t_be_read_begins_anew(beside: Beside, line: bytes) -> None:
    async def test(desk: Desk) -> None:
        key = desk.peer.issue()
        generation = desk.callers.book.generation
        for writer in desk.peer.streams:
            writer.write(b"%x\r\n%b\r\n" % (len(line), line))
        await wanted(lambda: desk.callers.book.generation > generation)
        await desk.fresh()
        assert await desk.code(key) == ""

    beside(test)


def test_unknown_lines_are_left_alone(beside: Beside) -> None:
    async def test(desk: Desk) -> None:
        generation = desk.callers.book.generation
        desk.peer.tell({"type": "of a later version", "x": [1]})
        key = desk.peer.issue()
        assert await desk.code(key) == ""
        assert desk.callers.book.generation == generation

    beside(test)


def test_a_stream_that_says_nothing_is_taken_for_dead(beside: Beside) -> None:
    async def test(desk: Desk) -> None:
        generation = desk.callers.book.generation
        desk.peer.beating = False
        await wanted(lambda: desk.callers.book.generation > generation)

    beside(test)


def test_when_many_keys_were_added_the_prefixes_are_fetched_again(beside: Beside, monkeypatch: Any) -> None:
    async def test(desk: Desk) -> None:
        monkeypatch.setattr(changes, "NEW", 5)
        before = desk.peer.questions("/_portico/keys/prefixes")
        keys = [desk.peer.issue() for _ in range(20)]
        await wanted(lambda: desk.peer.questions("/_portico/keys/prefixes") > before)
        assert {await desk.code(key) for key in keys} == {""}
        assert desk.callers.book.fresh(time.monotonic())

    beside(test)


def test_prefixes_that_can_t_be_had_end_the_stream_but_no_request(beside: Beside) -> None:
    async def test(desk: Desk) -> None:
        key = desk.peer.issue()
        desk.peer.status = 200
        await desk.peer.start()
        original = desk.peer._send

        def odd(writer: asyncio.StreamWriter, status: int, body: bytes) -> None:
            original(writer, status, body + b"x" if desk.peer.asked[-1][0].endswith("prefixes") else body)

        desk.peer._send = odd  # type: ignore[method-assign]
        desk.callers.start()
        await wanted(lambda: desk.peer.questions("/_portico/changes") >= 3)
        assert not desk.callers.book.synced
        assert await desk.code(key) == ""

    beside(test, begin=False)


def test_a_million_keys_take_eight_bytes_each(beside: Beside) -> None:
    """Random ones reach nothing, and looking takes as long as with few."""
    book = Book()
    step = (1 << 64) // 1_000_000
    book.prefixes = array("Q", range(0, step * 1_000_000, step))
    assert sys.getsizeof(book.prefixes) < 9_000_000
    known = (step * 777_777).to_bytes(8, "big") + bytes(24)
    assert book.may_exist(known)
    digests = [digest(generate()) for _ in range(1000)]
    began = time.perf_counter()
    found = sum(book.may_exist(each) for each in digests)
    assert time.perf_counter() - began < 0.1
    assert found == 0
    book.nobodys(known)
    assert not book.may_exist(known)


def test_a_million_prefixes_are_fetched_in_a_moment(beside: Beside) -> None:
    async def test(desk: Desk) -> None:
        key = generate()
        desk.peer.issue(key)
        step = (1 << 64) // 1_000_000
        body = b"".join((number * step).to_bytes(8, "big") for number in range(1_000_000))
        original = desk.peer._send

        def many(writer: asyncio.StreamWriter, status: int, told: bytes) -> None:
            original(writer, status, body if desk.peer.asked[-1][0].endswith("prefixes") else told)

        desk.peer._send = many  # type: ignore[method-assign]
        began = time.monotonic()
        await desk.peer.start()
        desk.callers.start()
        await desk.fresh()
        assert time.monotonic() - began < 3.0
        assert len(desk.callers.book.prefixes) == 1_000_000

    beside(test, begin=False)


@pytest.mark.parametrize(
    "head",
    [
        b"",
        b"HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999\r\n\r\n",
        b"HTTP/1.1 101 Switching\r\nConnection: Upgrade\r\n\r\n",
        b"HTTP/1.1 abc OK\r\n\r\n",
        b"nonsense\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nX: " + b"x" * 20_000 + b"\r\n\r\n",
    ],
)
def test_heads_that_our_server_does_not_write_are_refused(head: bytes) -> None:
    with pytest.raises((ValueError, KeyError)):
        read_head(head, None)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nshort",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nab",
        b"x" * 300_000,
    ],
)
def test_answers_that_break_off_are_none(sent: bytes) -> None:
    async def live() -> None:
        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readuntil(b"\r\n\r\n")
            writer.write(sent)
            await writer.drain()
            writer.close()

        with folder() as made:
            server = await asyncio.start_unix_server(serve, str(made / "s"))
            wire = Wire(str(made / "s"), INTERNAL)
            with pytest.raises(ServicesAway):
                await wire.ask(b"GET", b"/_portico/x")
            assert not wire.idle
            server.close()

    asyncio.run(asyncio.wait_for(live(), 10))


def test_an_idle_connection_that_was_closed_is_no_failure() -> None:
    async def live() -> None:
        with folder() as made:
            peer = Peer(made / "s")
            await peer.start()
            wire = Wire(str(made / "s"), INTERNAL)
            for _ in range(3):
                status, told = await wire.ask(b"POST", b"/_portico/keys", json.dumps({"sha256": "00" * 32}).encode())
                assert (status, json.loads(told)) == (200, {"key": None})
                assert len(wire.idle) == 1
                for writer in list(peer.connections):
                    writer.close()
                    await writer.wait_closed()
                peer.connections.clear()
            await peer.stop()

    asyncio.run(asyncio.wait_for(live(), 10))


def test_the_edge_loads_nothing_that_verifies_tokens_until_one_comes() -> None:
    code = "import sys, portico.edge.worker; print(sorted({'jwt', 'cryptography', 'pydantic'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
