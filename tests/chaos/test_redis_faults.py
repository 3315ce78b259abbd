"""A Redis that stops, dies, loses everything and comes back: callers wait what they were told, then not at all."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from tests.services import PrivateRedis, private_redis
from tests.unit.state.stores import WAIT, opened, retried, run, until

from portico import contracts
from portico.errors import StateUnavailable
from portico.state import Store, make
from portico.state.cache import BYTES, Cache

SLACK = 0.02  # seconds over `wait`


@pytest.fixture
def server() -> Iterator[PrivateRedis]:
    with private_redis() as redis:
        yield redis


@pytest.fixture(params=["asyncio", "uvloop"])
def on_uvloop(request: pytest.FixtureRequest) -> bool:
    return bool(request.param == "uvloop")


def pause(server: PrivateRedis) -> None:
    assert server.process is not None
    os.kill(server.process.pid, signal.SIGSTOP)


def go_on(server: PrivateRedis) -> None:
    assert server.process is not None
    os.kill(server.process.pid, signal.SIGCONT)


class Lateness:
    """How late this process itself is at most: what a busy machine adds to every time that is measured."""

    def __init__(self) -> None:
        self.most = 0.0

    async def __aenter__(self) -> Lateness:
        self._task = asyncio.create_task(self._measure())
        return self

    async def __aexit__(self, *_: object) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)

    async def _measure(self) -> None:
        while True:
            began = time.monotonic()
            await asyncio.sleep(0.002)
            self.most = max(self.most, time.monotonic() - began - 0.002)


async def timed(store: Store) -> tuple[bool, float]:
    began = time.monotonic()
    try:
        await store.get("key")
    except StateUnavailable:
        return False, time.monotonic() - began
    return True, time.monotonic() - began


def connections() -> int:
    """Sockets of this process."""
    count = 0
    for name in os.listdir("/proc/self/fd"):
        try:
            count += os.readlink(f"/proc/self/fd/{name}").startswith("socket:")
        except OSError:
            continue
    return count


def test_a_paused_server_costs_the_wait_once(server: PrivateRedis, on_uvloop: bool) -> None:
    async def scene() -> None:
        changes: list[bool] = []
        async with opened(server.url) as store:
            store.on_change(changes.append)
            assert (await timed(store))[0]
            pause(server)
            async with Lateness() as late:
                first = await asyncio.gather(*(timed(store) for _ in range(200)))
            assert not any(ok for ok, _ in first)
            took = sorted(seconds for _, seconds in first)
            assert took[0] >= WAIT * 0.9
            assert took[-3] <= WAIT + SLACK + late.most, "the 99th percentile of the calls that fail"
            later = sorted([(await timed(store))[1] for _ in range(500)])
            assert later[-6] < 0.002, "while it is known to be away nobody waits"
            assert not store.health().ok
            assert "50 ms" in store.health().error
            go_on(server)
            assert await until(lambda: store.health().ok) < 2.5
            assert (await timed(store))[0]
            assert changes == [False, True]

    run(scene(), on_uvloop=on_uvloop)


def test_a_short_pause_is_over_when_the_server_is_back(server: PrivateRedis, on_uvloop: bool) -> None:
    async def scene() -> None:
        async with opened(server.url) as store:
            for _ in range(5):
                pause(server)
                assert not (await timed(store))[0]
                go_on(server)
                assert await until(lambda: store.health().ok) < 0.5, "the same connection goes on"
                assert (await timed(store))[0]
                await store.set("answers", b"are not mixed up", 60.0)
                assert await store.get("answers") == b"are not mixed up"

    run(scene(), on_uvloop=on_uvloop)


def test_a_loop_that_was_busy_itself_does_not_blame_the_server(server: PrivateRedis, on_uvloop: bool) -> None:
    async def scene() -> None:
        async with opened(server.url) as store:
            for _ in range(10):
                call = asyncio.create_task(timed(store))
                for _ in range(3):  # until it has been sent, and no longer
                    await asyncio.sleep(0)
                time.sleep(WAIT * 1.5)  # the loop is what is busy
                assert (await call)[0]
            assert store.health().ok

    run(scene(), on_uvloop=on_uvloop)


def test_killed_and_started_again(server: PrivateRedis, on_uvloop: bool) -> None:
    async def scene() -> None:
        async with opened(server.url) as store:
            await store.incr("n", 60.0)
            for _ in range(3):
                server.kill()
                await until(lambda: not store.health().ok)
                took = [(await timed(store))[1] for _ in range(100)]
                assert sorted(took)[-2] < 0.002
                await asyncio.to_thread(server.start)
                assert await until(lambda: store.health().ok) < 1.5, "tried again at least once a second"
                assert await store.incr("n", 60.0) == 1, "scripts are loaded again, and nothing was kept"
            before = connections()
            server.kill()
            await until(lambda: not store.health().ok)
            assert connections() <= before

    run(scene(), on_uvloop=on_uvloop)


def test_a_start_without_a_server_waits_for_none(server: PrivateRedis) -> None:
    server.kill()

    async def scene() -> None:
        began = time.monotonic()
        async with opened(server.url) as store:
            assert time.monotonic() - began < 1.0
            assert not store.health().ok
            assert not (await timed(store))[0]
            await asyncio.to_thread(server.start)
            assert await until(lambda: store.health().ok) < 1.5

    run(scene())


def test_no_connection_is_left_behind_by_a_long_pause(server: PrivateRedis, on_uvloop: bool) -> None:
    async def scene() -> None:
        async with opened(server.url) as store:
            got: list[bytes] = []
            await store.subscribe("news", got.append)
            before = connections()
            pause(server)
            end = time.monotonic() + 2.5
            most = 0
            while time.monotonic() < end:  # calls, cancelled calls, and connections that never answer
                call = asyncio.create_task(timed(store))
                await asyncio.sleep(0.01)
                call.cancel()
                await asyncio.gather(call, return_exceptions=True)
                most = max(most, connections())
            assert most <= before + 1
            go_on(server)
            await until(lambda: store.health().ok)
            await until(lambda: connections() <= before)
            assert await _clients(server) <= 3  # ours and this question's own

    run(scene(), on_uvloop=on_uvloop)


async def _clients(server: PrivateRedis) -> int:
    reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
    try:
        deadline = time.monotonic() + 5
        while True:
            writer.write(b"CLIENT LIST\r\n")
            size = int((await reader.readline())[1:])
            count = (await reader.readexactly(size + 2)).count(b"\n") - 1
            if count <= 3 or time.monotonic() > deadline:
                return count
            await asyncio.sleep(0.05)
    finally:
        writer.close()


def test_messages_come_again_and_the_gap_is_told(server: PrivateRedis, on_uvloop: bool) -> None:
    async def scene() -> None:
        async with opened(server.url) as store:
            got: list[bytes] = []
            gaps: list[float] = []
            await store.subscribe("news", got.append, lambda: gaps.append(time.monotonic()))
            second = await store.subscribe("news", lambda message: None)
            await until(lambda: second.live.is_set())  # type: ignore[attr-defined]
            await store.publish("news", b"1")
            await until(lambda: got == [b"1"])
            assert gaps == [], "another listener is no gap"
            for number in (b"2", b"3"):
                server.kill()
                await until(lambda: not store.health().ok)
                with pytest.raises(StateUnavailable):
                    await store.publish("news", b"lost")
                told = len(gaps) + 1
                await asyncio.to_thread(server.start)
                await until(lambda told=told: len(gaps) == told)  # type: ignore[misc]
                await retried(lambda number=number: store.publish("news", number))  # type: ignore[misc]
                await until(lambda number=number: got[-1] == number)  # type: ignore[misc]
            assert got == [b"1", b"2", b"3"]

    run(scene(), on_uvloop=on_uvloop)


def test_a_subscription_made_while_the_server_is_away_works_later(server: PrivateRedis) -> None:
    server.kill()

    async def scene() -> None:
        async with opened(server.url) as store:
            got: list[bytes] = []
            await store.subscribe("news", got.append)
            await asyncio.to_thread(server.start)
            while not got:
                await retried(lambda: store.publish("news", b"1"))
                await asyncio.sleep(0.02)

    run(asyncio.wait_for(scene(), 10))


def test_scripts_survive_being_flushed(server: PrivateRedis) -> None:
    async def scene() -> None:
        async with opened(server.url) as store:
            assert await store.incr("n", 60.0) == 1
            assert await store._link.call(b"SCRIPT", b"FLUSH") == b"OK"  # type: ignore[attr-defined]
            assert await store.incr("n", 60.0) == 2
            assert await store._link.call(b"FLUSHALL") == b"OK"  # type: ignore[attr-defined]
            assert await store.incr("n", 60.0) == 1

    run(scene())


def test_the_cache_computes_while_the_server_is_away_and_forgets_what_it_was_told(server: PrivateRedis) -> None:
    async def scene() -> None:
        async with opened(server.url) as store, opened(server.url) as second:
            cache, other = Cache(store), Cache(second)
            mine, theirs = (each.kind("k", 60.0, codec=BYTES) for each in (cache, other))
            for key in ("by key", "by tag", "kept"):
                await mine.put(key, b"old", ["t"] if key == "by tag" else [])
            pause(server)
            assert await mine.get_or_compute("kept", _fresh) == b"new", "computed, for want of an answer"
            assert await mine.get("kept") is None
            assert await mine.invalidate("by key") is False
            assert await cache.invalidate_tag("t") is False
            go_on(server)
            await until(lambda: store.health().ok and second.health().ok)
            await until(lambda: not cache._owed)
            assert await theirs.get("by key") is None
            assert await theirs.get("by tag", ["t"]) is None
            assert await theirs.get("kept") == b"old"
            server.kill()
            await until(lambda: not store.health().ok)
            began = time.monotonic()
            assert [await mine.get_or_compute(f"x{i}", _fresh) for i in range(100)] == [b"new"] * 100
            assert time.monotonic() - began < 0.5
            await cache.stop()

    run(scene())


async def _fresh() -> bytes:
    return b"new"


@asynccontextmanager
async def _guarded(folder: Path) -> AsyncIterator[PrivateRedis]:
    with private_redis() as server:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(b"CONFIG SET requirepass correct-horse\r\n")
        assert await reader.readline() == b"+OK\r\n"
        writer.close()
        yield server


def test_credentials_are_used_and_never_shown(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    async def scene() -> None:
        async with _guarded(tmp_path) as server:
            url = f"redis://:correct-horse@127.0.0.1:{server.port}/3"
            async with opened(url) as store:
                assert await store.set("a", b"1", 60.0)
            for wrong in (f"redis://:battery-staple@127.0.0.1:{server.port}/0", server.url):
                async with opened(wrong) as store:
                    await until(lambda store=store: "credentials" in store.health().error)  # type: ignore[misc]
                    with pytest.raises(StateUnavailable) as caught:
                        await store.get("a")
                    assert "battery-staple" not in store.health().error + str(caught.value) + repr(caught.value)

    run(scene())
    assert "battery-staple" not in "".join(capsys.readouterr())


@pytest.mark.parametrize(
    "answer", [b"HTTP/1.1 400 Bad Request\r\n\r\n", b"", b"+PONG\r\n" * 50, b"$-7\r\n", b"*2\r\n:1\r\n"]
)
def test_what_is_no_redis_does_no_harm(answer: bytes) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(100)
        writer.write(answer)
        await reader.read(1000)
        writer.close()

    async def scene() -> None:
        server = await asyncio.start_server(serve, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        async with opened(f"redis://127.0.0.1:{port}") as store:
            for _ in range(5):
                assert not (await timed(store))[0]
                await asyncio.sleep(0.05)
            assert not store.health().ok
        server.close()

    run(scene())


def test_a_network_that_swallows_everything(on_uvloop: bool) -> None:
    """A listening socket that nobody accepts from: connections come about, answers never."""

    async def scene() -> None:
        with socket.socket() as silent:
            silent.bind(("127.0.0.1", 0))
            silent.listen(1)
            before = connections()
            async with opened(f"redis://127.0.0.1:{silent.getsockname()[1]}") as store:
                end = time.monotonic() + 1.6
                while time.monotonic() < end:
                    async with Lateness() as late:
                        ok, seconds = await timed(store)
                    assert not ok
                    assert seconds < WAIT + SLACK + late.most
                    assert connections() <= before + 1
                    await asyncio.sleep(0.05)

    run(scene(), on_uvloop=on_uvloop)


@pytest.mark.parametrize("url", ["redis://127.0.0.1:1/x?oops=1", "redis://127.0.0.1:notaport", "redis://h?db=x"])
def test_an_address_that_makes_no_sense_is_told(url: str) -> None:
    async def scene() -> None:
        store = make(contracts.State(url))
        await store.start()
        assert not store.health().ok
        assert store.health().error
        await store.stop()

    run(scene())
