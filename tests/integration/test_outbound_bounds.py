"""Whatever a server does, a call ends in time, with what was allowed of it in memory."""

from __future__ import annotations

import asyncio
import gzip
import resource
import time
import zlib

import pytest
from tests.unit.outbound.peers import OPERATOR, Peer, peer, plain, started
from tests.unit.state.stores import run, until

from portico.errors import (
    OutboundBusy,
    OutboundError,
    OutboundMalformed,
    OutboundTimeout,
    OutboundTooLarge,
    OutboundUnreachable,
)
from portico.outbound import Bounds
from portico.telemetry.tracing import CLIENT, INTERNAL, Record, Span
from portico.testing.harness import free_port

SMALL = Bounds(total=0.5, connect=0.3, head=4096, body=10_000)


async def failing(answer: bytes, bounds: Bounds = SMALL) -> OutboundError:
    """How a call to a server with this answer fails; no connection to it outlives the client."""
    async with peer(answer) as server, started(OPERATOR, bounds) as client:
        with pytest.raises(OutboundError) as caught:
            await client.get(server.url)
        assert "127.0.0.1" not in str(caught.value)
        await client.stop()
        await until(lambda: server.open == 0)
        return caught.value


def coded(body: bytes, coding: str) -> bytes:
    return plain(body, "200 OK", f"Content-Encoding: {coding}")


def test_an_answer_comes_whole() -> None:
    async def scene() -> None:
        body = b"x" * 9_000
        async with (
            peer(plain(body, "201 Created", "X-One: 1", "x-one: 2")) as server,
            started(OPERATOR, SMALL) as client,
        ):
            answer = await client.request("POST", f"{server.url}/a?b=%2F#c", headers={"Authorization": "s"}, body=b"{}")
            assert (answer.status, answer.body, answer.header("X-One")) == (201, body, "1")
            head = server.heads[0].decode()
            assert head.startswith("POST /a?b=%2F HTTP/1.1\r\n")
            for field in (
                "Authorization: s",
                "Content-Length: 2",
                "Accept-Encoding: gzip, deflate",
                "User-Agent: portico/",
            ):
                assert field in head
            assert "Cookie" not in head
            assert (await client.get(server.url)).status == 201
            assert server.connections == 1, "a connection is kept"

    run(scene())


def test_a_call_within_a_trace_is_a_part_of_it_and_the_stranger_is_not_told() -> None:
    records: list[Record] = []

    async def scene() -> None:
        async with peer(plain(b"", "201 Created")) as server, started(OPERATOR, SMALL) as client:
            with Span(records.append, "job", INTERNAL, "ab" * 16, "", {}):
                await client.request("POST", server.url, body=b"{}", purpose="test")
                with pytest.raises(OutboundUnreachable):
                    await client.request("GET", f"http://127.0.0.1:{free_port()}", purpose="test")
            assert "traceparent" not in server.heads[0].decode().lower()

    run(scene())
    called, refused, job = records
    assert (called.name, called.trace_id, called.parent_id, called.kind) == (
        "POST test", job.trace_id, job.span_id, CLIENT,
    )  # fmt: skip
    assert called.attributes["http.response.status_code"] == 201
    assert (refused.name, refused.failed, refused.attributes["error.type"]) == ("GET test", True, "OutboundUnreachable")


@pytest.mark.parametrize(
    ("coding", "squeeze"),
    [("gzip", gzip.compress), ("GZIP", gzip.compress), ("deflate", zlib.compress), ("identity", bytes), ("", bytes)],
)
def test_codings_are_undone(coding: str, squeeze: object) -> None:
    async def scene() -> None:
        text = b"abc" * 3000
        async with peer(coded(squeeze(text), coding)) as server, started(OPERATOR, SMALL) as client:  # type: ignore[operator]
            assert (await client.get(server.url)).body == text

    run(scene())


def test_too_much_is_given_up() -> None:
    async def scene() -> None:
        chunk = b"2710\r\n" + bytes(10_000) + b"\r\n"
        endless = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        for answer in (
            plain(bytes(10_001)),
            b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n",
            endless + chunk * 100,
            b"HTTP/1.0 200 OK\r\n\r\n" + bytes(20_000_000),
            coded(gzip.compress(bytes(10_001)), "gzip"),
            coded(zlib.compress(bytes(5_000_000)), "deflate"),
            plain(b"", "200 OK", *(f"X-{number}: {'y' * 100}" for number in range(60))),
        ):
            assert isinstance(await failing(answer), OutboundTooLarge), answer[:80]

    run(scene())


def test_a_bomb_does_not_go_off() -> None:
    """100 MB of zeros in 100 KB of gzip: all of it in memory would show."""
    packer = zlib.compressobj(9, zlib.DEFLATED, 31)
    zeros = bytes(1 << 20)
    bomb = b"".join(packer.compress(zeros) for _ in range(100)) + packer.flush()

    async def scene() -> None:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        error = await failing(coded(bomb, "gzip"), Bounds(body=1 << 20))
        assert isinstance(error, OutboundTooLarge)
        assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 30_000, "kilobytes"

    run(scene())


def test_what_is_no_http_is_refused() -> None:
    async def scene() -> None:
        for answer in (
            b"nonsense\r\n\r\n",
            b"HTTP/1.1 999999 X\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nabcdef",
            b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
            b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\n",
            b"HTTP/1.1 200 OK\r\nX: " + b"y" * 100_000 + b"\r\n\r\n",
            coded(b"\x1f\x8bnot gzip at all", "gzip"),
            coded(gzip.compress(b"abc" * 1000)[:-9], "gzip"),
            coded(b"x", "br"),
            coded(b"x", "gzip, gzip"),
        ):
            error = await failing(answer)
            assert isinstance(error, OutboundMalformed | OutboundUnreachable | OutboundTooLarge), answer[:60]

    run(scene())


async def _breaks_off(head: bytes, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nhalf")
    await writer.drain()
    writer.close()


async def _says_nothing(head: bytes, writer: asyncio.StreamWriter) -> None:
    await asyncio.sleep(30)


async def _drips(head: bytes, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
    while not writer.is_closing():
        writer.write(b"x")
        await writer.drain()
        await asyncio.sleep(0.05)


async def _drips_its_head(head: bytes, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\n")
    while not writer.is_closing():
        writer.write(b"X: y\r\n")
        await writer.drain()
        await asyncio.sleep(0.05)


def test_half_an_answer_is_none() -> None:
    async def scene() -> None:
        async with peer(_breaks_off) as server, started(OPERATOR, SMALL) as client:
            with pytest.raises(OutboundMalformed):
                await client.get(server.url)

    run(scene())


@pytest.mark.parametrize("handler", [_says_nothing, _drips, _drips_its_head])
def test_slowness_ends(handler: object) -> None:
    async def scene() -> None:
        async with peer(handler) as server, started(OPERATOR, SMALL) as client:  # type: ignore[arg-type]
            began = time.monotonic()
            with pytest.raises(OutboundTimeout):
                await client.get(server.url)
            assert 0.45 < time.monotonic() - began < 1.0
            with pytest.raises(OutboundTimeout):
                await client.get(server.url, bounds=Bounds(total=0.1))
            assert time.monotonic() - began < 1.5

    run(scene())


def test_a_name_server_that_says_nothing_ends_too() -> None:
    async def silent(host: str, port: int) -> list[str]:
        await asyncio.sleep(30)
        return []

    async def scene() -> None:
        async with started(OPERATOR, SMALL, lookup=silent) as client:
            began = time.monotonic()
            with pytest.raises(OutboundTimeout):
                await client.get("http://slow.test/")
            assert time.monotonic() - began < 1.0

    run(scene())


def test_nobody_there() -> None:
    async def scene() -> None:
        async with peer(b"") as server:
            port = server.port
        async with started(OPERATOR, SMALL) as client:
            for url in (f"http://127.0.0.1:{port}/", "http://no-such-name.invalid/", f"https://127.0.0.1:{port}/"):
                with pytest.raises(OutboundUnreachable) as caught:
                    await client.get(url)
                assert str(port) not in str(caught.value)

    run(scene())


def test_calls_at_once_are_counted() -> None:
    async def scene() -> None:
        most = 0
        go = asyncio.Event()

        async def handler(head: bytes, writer: asyncio.StreamWriter) -> None:
            nonlocal most
            most = max(most, server.open)
            await go.wait()
            writer.write(plain(b"ok"))

        bounds = Bounds(calls=5, per_host=3, waiting=4)
        async with peer(handler) as server, started(OPERATOR, bounds) as client:
            calls = [asyncio.create_task(client.get(server.url)) for _ in range(9)]
            await until(lambda: server.open == 3)
            with pytest.raises(OutboundBusy):
                await client.get(server.url)
            calls[8].cancel()
            await asyncio.gather(calls[8], return_exceptions=True)
            last = asyncio.create_task(client.get(server.url))
            go.set()
            answers = await asyncio.gather(*calls[:8], last)
            assert [answer.body for answer in answers] == [b"ok"] * 9
            assert most == 3

    run(scene())


def _redirects(status: int, location: str) -> bytes:
    return plain(b"", f"{status} X", f"Location: {location}")


def test_redirects_are_followed_only_when_asked_and_only_so_far() -> None:
    async def scene() -> None:
        async with peer(_redirects(302, "/again")) as server:
            async with started(OPERATOR, SMALL) as client:
                assert (await client.get(server.url)).status == 302
                assert len(server.heads) == 1
            async with started(OPERATOR, Bounds(redirects=3)) as client:
                with pytest.raises(OutboundMalformed):
                    await client.get(server.url)
                assert len(server.heads) == 1 + 4
                assert (await client.get(server.url, bounds=Bounds(redirects=0))).status == 302

    run(scene())


@pytest.mark.parametrize(
    ("status", "method", "then", "keeps"),
    [
        (301, "POST", "GET", False),
        (302, "POST", "GET", False),
        (303, "PUT", "GET", False),
        (307, "POST", "POST", True),
        (308, "PUT", "PUT", True),
        (302, "GET", "GET", True),
    ],
)
def test_what_goes_along_with_a_redirect(status: int, method: str, then: str, keeps: bool) -> None:
    async def scene(first: Peer, second: Peer) -> None:
        async with started(OPERATOR, Bounds(redirects=1)) as client:
            headers = {"Authorization": "secret", "X-Api-Key": "secret", "X-Other": "kept"}
            body = None if method == "GET" else b"body"
            answer = await client.request(method, first.url, headers=headers, body=body)
            assert (answer.body, answer.url) == (b"there", f"{second.url}/next")
            head = second.heads[0].decode()
            assert head.startswith(f"{then} /next ")
            assert "secret" not in head, "another origin gets no credentials"
            assert "X-Other: kept" in head
            assert ("Content-Length: 4" in head) == (keeps and body is not None)

    async def stage() -> None:
        async with peer(plain(b"there")) as second, peer(_redirects(status, f"{second.url}/next")) as first:
            await scene(first, second)

    run(stage())


@pytest.mark.parametrize("location", ["", "http://", "ftp://h/", "http://a@b/", "file:///etc/passwd", "http://h:x/"])
def test_redirects_that_lead_nowhere(location: str) -> None:
    async def scene() -> None:
        async with peer(_redirects(302, location)) as server, started(OPERATOR, Bounds(redirects=3)) as client:
            with pytest.raises(OutboundError):
                await client.get(server.url)
            assert server.connections == 1

    run(scene())


def test_cookies_are_neither_kept_nor_sent() -> None:
    async def scene() -> None:
        async with peer(plain(b"", "200 OK", "Set-Cookie: a=b")) as server, started(OPERATOR) as client:
            await client.get(server.url)
            await client.get(server.url)
            assert not any(b"cookie" in head.lower() for head in server.heads)

    run(scene())


@pytest.mark.parametrize("name", ["Host", "content-length", "Transfer-Encoding", "Connection", "X\r\nY", "Upgrade"])
def test_fields_that_are_the_clients_own(name: str) -> None:
    async def scene() -> None:
        async with peer(plain(b"")) as server, started(OPERATOR) as client:
            with pytest.raises(ValueError):
                await client.get(server.url, {name: "x"})
            with pytest.raises(ValueError):
                await client.get(server.url, {"X": "a\r\nb"})
            with pytest.raises(ValueError):
                await client.request("CONNECT", server.url)
            assert server.connections == 0

    run(scene())


def test_a_stop_closes_every_connection() -> None:
    async def scene() -> None:
        server: Peer
        async with peer(plain(b"")) as server, started(OPERATOR) as client:
            await asyncio.gather(*(client.get(server.url) for _ in range(5)))
            assert server.open > 0
            await client.stop()
            await until(lambda: server.open == 0)

    run(scene())
