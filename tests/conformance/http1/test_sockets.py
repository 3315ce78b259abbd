"""Every case of the corpus through a real gateway: what reaches the upstream and the client, and nothing else."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from tests.conformance.http1.corpus import Case, load
from tests.conformance.http1.driver import Message, Reading, read_requests, read_responses
from tests.e2e.edge.conftest import MODES

from portico.edge.http1 import names
from portico.edge.http1.body import UNTIL_CLOSE
from portico.testing import FakeUpstream, GatewayHarness
from portico.testing.client import Answer, IncompleteAnswer, Reader, read_all
from portico.testing.upstream import Connection, Request, echo

REQUESTS = load("requests")
RESPONSES = load("responses")
MOST = 16 * 1024 * 1024  # server.limits.body_bytes
UPGRADE = b"Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"


class Player:
    """The upstream's handler: echoes, or plays the response case that the path names and then ends the connection."""

    def __init__(self) -> None:
        self.cases = {f"/play/{case.name}": case for case in RESPONSES}

    def __call__(self, request: Request, connection: Connection) -> bytes | None:
        case = self.cases.get(request.target)
        if case is None:
            return echo(request, connection)
        connection.send(case.raw)
        connection.close()
        return None


class Recorded:
    """Bytes that were received, to be read once more."""

    def __init__(self, data: bytes) -> None:
        self.data = data

    def recv(self, _: int) -> bytes:
        data, self.data = self.data, b""
        return data


@pytest.fixture(scope="module")
def upstream() -> Iterator[FakeUpstream]:
    with FakeUpstream(Player()) as made:
        yield made


@pytest.fixture(scope="module", params=MODES)
def gateway(request: pytest.FixtureRequest, upstream: FakeUpstream) -> Iterator[GatewayHarness]:
    """`/*` leads to the echo; each response case has an upstream of its own, for its failures concern no other."""
    plays = [case.name for case in RESPONSES]
    config = {
        "upstreams": {name: {"targets": [upstream.url]} for name in ["echo", *plays]},
        "routes": [
            {"name": "echo", "paths": ["/*"], "upstream": "echo"},
            *({"name": name, "paths": [f"/play/{name}"], "upstream": name} for name in plays),
        ],
    }
    with GatewayHarness(config, compiled=request.param == "compiled") as made:
        yield made


def test_the_corpus_is_large() -> None:
    assert len(REQUESTS) + len(RESPONSES) >= 300


# -- requests


@pytest.mark.parametrize("case", REQUESTS, ids=lambda case: case.name)
def test_request(gateway: GatewayHarness, upstream: FakeUpstream, case: Case) -> None:
    before = len(upstream.requests)
    with gateway.connect() as sock:
        sock.sendall(case.raw)
        reader = Reader(sock)  # type: ignore[arg-type]
        if case.status:
            refused(reader, case.status, case.code)
        else:
            accepted(reader, case, upstream, before)
            return
    assert len(upstream.requests) == before


def refused(reader: Reader, status: int, code: str) -> None:
    """The first answer is the refusal, and nothing comes after it."""
    answer = reader.answer()
    assert (answer.status, answer.json()["code"]) == (status, code)
    assert answer.header("Connection") == "close"
    assert reader.buffer + read_all(reader.sock, 5.0) == b""


def accepted(reader: Reader, case: Case, upstream: FakeUpstream, before: int) -> None:
    """Every complete message is answered, in order, and reaches the upstream as it was read."""
    expected: list[Message] = []
    for message in read_requests([case.raw]).messages:
        if message.head["length"] > MOST:
            assert reader.answer().status == 413
            break
        if not message.complete:
            break
        answer = reader.answer(message.head["method"].decode())
        if message.head["path"] == b"*":
            assert answer.status == 204
        else:
            assert answer.status == 200, answer
            expected.append(message)
    arrived = upstream.requests[before:]
    assert len(arrived) == len(expected)
    for message, request in zip(expected, arrived, strict=True):
        reached(message, request, upstream)


def reached(message: Message, request: Request, upstream: FakeUpstream) -> None:
    """The upstream got this message: its line, Host and lines as they were, then ours; and its body."""
    head, known = message.head, message.known
    host = head["authority"] or b"127.0.0.1:%d" % upstream.port
    start = b"%b %b HTTP/1.1\r\nHost: %b" % (head["method"], head["path"] + head["query"], host)
    start += message.kept
    if names.X_API_KEY in known:
        start += b"\r\nX-API-Key: " + known[names.X_API_KEY]
    if names.AUTHORIZATION in known:
        start += b"\r\nAuthorization: " + known[names.AUTHORIZATION]
    assert request.raw_head.startswith(start + b"\r\nVia: 1.1 portico\r\n"), (start, request.raw_head)
    assert request.body == message.body
    framing = (request.header("Content-Length"), request.header("Transfer-Encoding"))
    assert framing in [(None, None), (str(len(message.body)), None), (None, "chunked")]


# -- responses


@pytest.mark.parametrize("case", RESPONSES, ids=lambda case: case.name)
def test_response(gateway: GatewayHarness, upstream: FakeUpstream, case: Case) -> None:
    before = len(upstream.requests)
    reading = read_responses([case.raw], [case.to])
    upgrade = case.expected.get("upgrade") == b"true"
    raw = played(gateway, case, upgrade)
    if reading.error == (502, "bad_chunk") or (reading.messages and truncated(reading.messages[-1])):
        with pytest.raises(IncompleteAnswer):  # never a complete answer
            Reader(Recorded(raw)).answer(case.to.decode())  # type: ignore[arg-type]
    elif reading.error or not reading.messages:
        answer = parsed(raw, case)
        assert answer.status == 502
        assert case.to == b"HEAD" or answer.json()["code"] == "upstream_malformed"
    else:
        passed_on(reading, raw, case)
    assert {request.target for request in upstream.requests[before:]} == {f"/play/{case.name}"}


def played(gateway: GatewayHarness, case: Case, upgrade: bool) -> bytes:
    """All that the client gets for this case."""
    head = b"%b /play/%b HTTP/1.1\r\nHost: a\r\n" % (case.to, case.name.encode())
    with gateway.connect() as sock:
        sock.sendall(head + (UPGRADE if upgrade else b"Connection: close\r\n") + b"\r\n")
        return read_all(sock, 5.0)


def truncated(message: Message) -> bool:
    """Whether the connection ended inside the answer's body."""
    return not message.complete and message.head["length"] != UNTIL_CLOSE and not message.head["upgrade"]


def parsed(raw: bytes, case: Case) -> Answer:
    return Reader(Recorded(raw)).answer(case.to.decode())  # type: ignore[arg-type]


def passed_on(reading: Reading, raw: bytes, case: Case) -> None:
    """The client got the status line, the lines that are passed on, and the body; interim answers before it."""
    answer = parsed(raw, case)
    *interim, final = reading.messages
    assert answer.interim == [message.head["status"] for message in interim]
    for message in reading.messages:
        head: dict[str, Any] = message.head
        assert b"HTTP/1.1 %d %b%b\r\n" % (head["status"], head["reason"], message.kept) in raw
    assert answer.status == final.head["status"]
    if final.head["upgrade"]:
        assert raw.endswith(b"\r\n\r\n" + reading.rest)
    else:
        assert answer.body == final.body
