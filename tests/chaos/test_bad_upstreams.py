"""Upstreams that behave badly: every request to them gets its clear answer in time, and the others notice nothing."""

from __future__ import annotations

import array
import socket
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import Any

import pytest
from tests.chaos.load import Load

from portico.testing import Connection, FakeUpstream, GatewayHarness, Reader, Request, response, wait_for
from portico.testing.client import IncompleteAnswer, request_bytes

SLACK = 3.0  # seconds that a busy machine may add to a timeout
SO_ATTACH_FILTER = 26


def config(good: FakeUpstream, bad: str, **timeouts: str) -> dict[str, Any]:
    never = {"min_requests": 1_000_000}
    return {
        "upstreams": {
            "good": {"targets": [good.url]},
            "bad": {"targets": [bad], "timeouts": timeouts, "breaker": never, "retries": {"attempts": 0}},
        },
        "routes": [
            {"name": "users", "paths": ["/users/*"], "upstream": "good"},
            {"name": "bad", "paths": ["/bad/*"], "upstream": "bad", "body_bytes": "64MiB"},
        ],
    }


@contextmanager
def beside(handler: Any, **timeouts: str) -> Iterator[tuple[GatewayHarness, FakeUpstream]]:
    """A gateway with a bad upstream, while a good one is under load and must not notice."""
    with ExitStack() as stack:
        good = stack.enter_context(FakeUpstream())
        bad = stack.enter_context(FakeUpstream(handler))
        gateway = stack.enter_context(GatewayHarness(config(good, bad.url, **timeouts)))
        load = stack.enter_context(Load(gateway, kept=1, fresh=1, pause=0.005))
        yield gateway, bad
        load.more(10)
        assert load.failed() == []
        assert max(each.ended - each.began for each in load.outcomes) < SLACK
        load.stop()
        wait_for(lambda: all(each["in_flight"] == 0 for each in gateway.status()["processes"]))


def many(gateway: GatewayHarness, count: int, path: str = "/bad/1", method: str = "GET") -> list[Any]:
    """The ends of so many requests at the same time: (status, code), or the error."""
    ends: list[Any] = []

    def one() -> None:
        try:
            answer = gateway.request(method, path, timeout=20)
            ends.append((answer.status, answer.json()["code"] if answer.status >= 500 else ""))
        except IncompleteAnswer:
            ends.append("cut")

    threads = [threading.Thread(target=one, daemon=True) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    return ends


def test_it_resets_every_connection() -> None:
    def reset(_: Request, connection: Connection) -> None:
        connection.reset()

    with beside(reset) as (gateway, _):
        assert many(gateway, 50) == [(502, "upstream_reset")] * 50


def test_it_resets_in_the_middle_of_its_answer() -> None:
    def reset(_: Request, connection: Connection) -> None:
        connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nsome")
        time.sleep(0.05)
        connection.reset()

    with beside(reset) as (gateway, _):
        assert many(gateway, 20) == ["cut"] * 20, "a part never looks like the whole"


def test_it_closes_its_sending_side_and_goes_on_reading() -> None:
    def half(_: Request, connection: Connection) -> None:
        connection.sock.shutdown(socket.SHUT_WR)

    with beside(half) as (gateway, bad):
        assert many(gateway, 20) == [(502, "upstream_reset")] * 20
        bad.wait_for(lambda: bad.open_connections == 0)  # ours is closed too: nothing is left half open


def test_it_vanishes_from_the_network_on_a_kept_connection() -> None:
    """Its host is gone without a word: what we send is not even acknowledged."""
    with beside(None, first_byte="500ms") as (gateway, bad):
        assert gateway.request("GET", "/bad/1").status == 200
        unplug(bad.accepted[0].sock)
        began = time.monotonic()
        assert many(gateway, 1) == [(504, "upstream_timeout")]
        assert time.monotonic() - began < 0.5 + SLACK
        assert gateway.request("GET", "/bad/1").status == 200, "on a new connection"
        assert bad.connections == 2


def unplug(sock: socket.socket) -> None:
    """Let nothing reach this socket any more (a packet filter that drops all)."""
    program = array.array("B", struct.pack("HBBI", 0x06, 0, 0, 0))
    sock.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, struct.pack("HP", 1, program.buffer_info()[0]))


def test_it_takes_requests_and_never_answers() -> None:
    silent = threading.Event()

    def never(_: Request, __: Connection) -> None:
        silent.wait(20)

    with beside(never, first_byte="500ms") as (gateway, bad):
        began = time.monotonic()
        assert many(gateway, 50) == [(504, "upstream_timeout")] * 50
        assert time.monotonic() - began < 0.5 + SLACK
        silent.set()
        bad.wait_for(lambda: bad.open_connections == 0)


def test_it_listens_and_never_accepts_and_its_queue_is_full() -> None:
    with ExitStack() as stack:
        good = stack.enter_context(FakeUpstream())
        hole = stack.enter_context(socket.socket())
        hole.bind(("127.0.0.1", 0))
        hole.listen(0)
        stack.enter_context(socket.create_connection(hole.getsockname()))  # the one for which there is room
        url = f"http://127.0.0.1:{hole.getsockname()[1]}"
        gateway = stack.enter_context(GatewayHarness(config(good, url, connect="400ms", first_byte="400ms")))
        with Load(gateway, kept=1, fresh=1, pause=0.005) as load:
            began = time.monotonic()
            assert many(gateway, 30) == [(504, "upstream_timeout")] * 30
            assert time.monotonic() - began < 0.8 + SLACK
        assert load.failed() == []


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_its_head_comes_one_byte_at_a_time(method: str) -> None:
    """Each byte is progress, and yet the head is not there in time."""

    def drip(_: Request, connection: Connection) -> None:
        for byte in response(200, b"x"):
            connection.send(bytes([byte]))
            time.sleep(0.1)

    with beside(drip, first_byte="700ms") as (gateway, _):
        began = time.monotonic()
        assert many(gateway, 5, method=method) == [(504, "upstream_timeout")] * 5
        assert 0.5 < time.monotonic() - began < 0.7 + SLACK


def dripping(_: Request, connection: Connection) -> None:
    connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\n")
    for byte in b"dripping":
        time.sleep(0.25)
        connection.send(bytes([byte]))


def test_its_body_comes_one_byte_at_a_time_and_each_is_passed_on_at_once() -> None:
    with beside(dripping, idle="5s") as (gateway, _), gateway.connect() as sock:
        sock.sendall(request_bytes("GET", "/bad/1", "x"))
        began = time.monotonic()
        assert sock.recv(1000).startswith(b"HTTP/1.1 200")
        assert time.monotonic() - began < 1.0, "the head does not wait for the body"
        body = b""
        pieces = 0
        while piece := sock.recv(1000):
            body += piece
            pieces += 1
        assert body == b"dripping" or body.endswith(b"ripping")
        assert pieces >= 5


def test_its_body_comes_too_slowly_for_the_time_in_total() -> None:
    with beside(dripping, total="700ms") as (gateway, bad):
        began = time.monotonic()
        assert many(gateway, 5) == ["cut"] * 5
        assert time.monotonic() - began < 0.7 + SLACK
        bad.wait_for(lambda: bad.open_connections == 0)


def test_its_body_stops_for_longer_than_it_may() -> None:
    stopped = threading.Event()

    def stop(_: Request, connection: Connection) -> None:
        connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 8\r\n\r\ndrip")
        stopped.wait(20)

    with beside(stop, idle="500ms") as (gateway, _):
        began = time.monotonic()
        assert many(gateway, 5) == ["cut"] * 5
        assert time.monotonic() - began < 0.5 + SLACK
        stopped.set()


def test_it_reads_its_request_one_byte_at_a_time() -> None:
    """A body of 40 MB that goes nowhere is not gathered in memory, and the client is held back."""
    slow = threading.Event()
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    listener.bind(("127.0.0.1", 0))
    listener.listen(8)

    def read() -> None:
        sock, _ = listener.accept()
        with sock:
            while not slow.wait(0.02) and sock.recv(1):
                pass

    thread = threading.Thread(target=read, daemon=True)
    thread.start()
    with (
        FakeUpstream() as good,
        GatewayHarness(config(good, f"http://127.0.0.1:{listener.getsockname()[1]}")) as gateway,
    ):
        edge = gateway.status()["processes"][0]["rss"]
        with gateway.connect(1.0) as sock:
            head = b"POST /bad/1 HTTP/1.1\r\nHost: x\r\nContent-Length: 40000000\r\n\r\n"
            sock.sendall(head)
            with pytest.raises(TimeoutError):
                sock.sendall(b"x" * 40_000_000)
            assert gateway.request("GET", "/users/1").status == 200
            assert gateway.status()["processes"][0]["rss"] - edge < 8 << 20
        slow.set()
        thread.join(5)
        listener.close()
        wait_for(lambda: gateway.status()["processes"][0]["in_flight"] == 0)


def test_all_of_them_at_once_and_the_good_one_does_not_notice() -> None:
    """What they do depends on the path; the load beside them sees neither an error nor a long wait."""

    def moody(request: Request, connection: Connection) -> bytes | None:
        match request.target:
            case "/bad/reset":
                connection.reset()
            case "/bad/half":
                connection.sock.shutdown(socket.SHUT_WR)
            case "/bad/garbage":
                return b"\x00\xff nonsense\r\n\r\n"
            case "/bad/silent":
                time.sleep(1.0)
            case _:
                dripping(request, connection)
        return None

    moods = ("reset", "half", "garbage", "silent", "drip")
    with beside(moody, first_byte="300ms", idle="2s") as (gateway, _):
        ends = {mood: many(gateway, 10, f"/bad/{mood}") for mood in moods}
        assert ends == {
            "reset": [(502, "upstream_reset")] * 10,
            "half": [(502, "upstream_reset")] * 10,
            "garbage": [(502, "upstream_malformed")] * 10,
            "silent": [(504, "upstream_timeout")] * 10,
            "drip": [(200, "")] * 10,
        }


def test_a_kept_connection_that_its_end_has_closed_meanwhile_costs_nobody_a_request() -> None:
    with beside(None) as (gateway, bad):
        for _ in range(5):
            with gateway.connect() as sock:
                sock.sendall(b"GET /bad/1 HTTP/1.1\r\nHost: x\r\n\r\n")
                assert Reader(sock).answer().status == 200
            for connection in bad.accepted:
                connection.close()
            bad.wait_for(lambda: bad.open_connections == 0)
