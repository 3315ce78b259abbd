"""A name with several addresses, over real sockets: all are used, and one that is down is passed over."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable

import uvloop

from portico import contracts
from portico.edge.accesslog import AccessLog
from portico.edge.build import Builder
from portico.edge.client import ClientConnection
from portico.edge.plan import CompiledRoute, Plan
from portico.edge.record import Recorder, RouteStats
from portico.edge.routes import Table
from portico.edge.state import EdgeState
from portico.testing.harness import free_port

Served = Counter[str]
HOSTS = ["127.0.0.1", "127.0.0.2", "127.0.0.3"]


async def ask(port: int, method: str = "GET", body: bytes = b"") -> tuple[int, str]:
    """Status and body of one request."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"%b / HTTP/1.1\r\nHost: a\r\nConnection: close\r\nContent-Length: %d\r\n\r\n%b" % (
        method.encode(), len(body), body,
    ))  # fmt: skip
    raw = await reader.read()
    writer.close()
    return int(raw.split(b" ", 2)[1]), raw.partition(b"\r\n\r\n")[2].decode()


async def listen(host: str, port: int) -> asyncio.Server:
    """A server that answers with its own address."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = int(head.partition(b"Content-Length: ")[2].partition(b"\r\n")[0] or b"0")
                await reader.readexactly(length)
                writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(host), host.encode()))
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    return await asyncio.start_server(serve, host, port)


def run(hosts: list[str], work: Callable[[int, EdgeState, list[asyncio.Server]], Awaitable[None]]) -> None:
    """Run `work` with an edge whose one upstream is a name of HOSTS, on `hosts` of which somebody listens."""

    async def lookup(host: str, port: int) -> list[str]:
        assert host == "app.test"
        return HOSTS

    async def inside() -> None:
        port = free_port()
        servers = [await listen(host, port) for host in hosts]
        target = contracts.Target(f"http://app.test:{port}", "http", "app.test", port)
        upstream = contracts.Upstream("u", (target,), breaker=contracts.Breaker(min_requests=5, open_for=60.0))
        route = contracts.Route("r", ("/*",), "u")
        snapshot = contracts.Snapshot(1, "test", contracts.Server(()), (upstream,), routes=(route,))
        recorder = Recorder(AccessLog("/dev/null"))
        nothing = CompiledRoute("", [], None, RouteStats(""))
        state = EdgeState(asyncio.get_running_loop(), Plan(0, Table([]), nothing), recorder)
        builder = Builder(recorder, asked, b"")
        builder.lookup = lookup
        state.plan = builder.build(snapshot, state)
        await asyncio.sleep(0.05)
        edge = await asyncio.get_running_loop().create_server(lambda: ClientConnection(state, b"http"), "127.0.0.1", 0)
        await work(edge.sockets[0].getsockname()[1], state, servers)
        edge.close()
        for _, made in builder.upstreams.values():
            made.close()
        for server in servers:
            server.close()
        await asyncio.sleep(0.05)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(inside())


async def asked(what: str) -> dict[str, object]:
    """There is no supervisor to ask."""
    raise ConnectionError(what)


def test_all_addresses_are_used() -> None:
    async def work(port: int, state: EdgeState, servers: list[asyncio.Server]) -> None:
        answers = [await ask(port) for _ in range(12)]
        assert Counter(body for _, body in answers) == dict.fromkeys(HOSTS, 4)

    run(HOSTS, work)


def test_an_address_that_is_down_is_passed_over_and_then_left_alone() -> None:
    async def work(port: int, state: EdgeState, servers: list[asyncio.Server]) -> None:
        answers = [await ask(port, "POST", b"body") for _ in range(30)]
        assert {status for status, _ in answers} == {200}
        assert {body for _, body in answers} == {HOSTS[0], HOSTS[2]}
        outcomes = state.recorder.upstream("u").outcomes
        assert "retried" not in outcomes, "another address of the same name is no retry"
        upstream = state.plan.table.find(b"", b"/", b"GET").value.upstream
        assert [pool.standing() for pool in upstream.pools] == ["up", "open", "up"]

    run([HOSTS[0], HOSTS[2]], work)


def test_a_name_none_of_whose_addresses_answers() -> None:
    async def work(port: int, state: EdgeState, servers: list[asyncio.Server]) -> None:
        status, body = await ask(port)
        assert status == 502
        assert "upstream_unreachable" in body

    run([], work)
