"""The guard of answers over real sockets: whole ones and streams, what comes through, and how the rest ends."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from portico.testing import FakeUpstream, GatewayHarness
from portico.testing.client import request_bytes
from portico.testing.upstream import Connection, Request, response, wait_for

from .guarding import ATTACK, HARMLESS, KIB, PATIENCE, chat, logged, post, running


@pytest.fixture(scope="module")
def guarded(mode: bool, shared_upstream: FakeUpstream) -> Iterator[GatewayHarness]:
    with running(mode, shared_upstream) as gateway:
        yield gateway


# -- answers


def completion(content: Any) -> bytes:
    message = {"role": "assistant", "content": content}
    return json.dumps({"id": "c", "choices": [{"index": 0, "message": message}], "usage": {"total_tokens": 3}}).encode()


def event(text: str, index: int = 0) -> bytes:
    chunk = {"object": "chat.completion.chunk", "choices": [{"index": index, "delta": {"content": text}}]}
    return b"data: " + json.dumps(chunk).encode() + b"\n\n"


def answering(upstream: FakeUpstream, raw: bytes) -> None:
    upstream.handler = lambda _request, _connection: raw


JSON = [("Content-Type", "application/json")]
EVENTS = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
DONE = b"data: [DONE]\n\n"


def test_harmless_answers_come_as_they_are(guarded: GatewayHarness, upstream: FakeUpstream) -> None:
    body = completion("Paris, of course.")
    answering(upstream, response(201, body, [*JSON, ("X-Portico-Guard", "mine"), ("ETag", '"1"')], "Made"))
    for name in ("answers", "answers-flag"):
        answer = guarded.request("GET", f"/{name}", {"Accept-Encoding": "br"}, timeout=PATIENCE)
        assert (answer.status, answer.reason, answer.body) == (201, "Made", body)
        assert answer.header("ETag") == '"1"'
        assert [value[:17] for value in answer.all("X-Portico-Guard")] == ["clean;confidence="]
        assert upstream.requests[-1].all("Accept-Encoding") == ["identity"]


@pytest.mark.parametrize(
    "body",
    [
        completion(ATTACK),
        completion([{"type": "text", "text": ATTACK}]),
        json.dumps({"results": [{"title": "Weather", "snippet": ATTACK}]}).encode(),
        json.dumps({"results": {ATTACK: 1}}).encode(),
    ],
    ids=["text", "part", "tool result", "name"],
)
def test_attacks_in_answers_do_not_come_through(guarded: GatewayHarness, upstream: FakeUpstream, body: bytes) -> None:
    answering(upstream, response(200, body, JSON))
    answer = post(guarded, "/answers", chat(HARMLESS))
    assert (answer.status, answer.json()["code"]) == (502, "guard_answer_blocked")
    assert b"previous" not in answer.body
    answer = post(guarded, "/answers-flag", chat(HARMLESS))
    assert (answer.status, answer.body) == (200, body)
    assert (answer.header("X-Portico-Guard") or "").startswith("malicious;confidence=")


def test_answers_that_can_t_be_scanned_follow_on_failure(guarded: GatewayHarness, upstream: FakeUpstream) -> None:
    for raw in (
        response(200, b"\x89PNG", [("Content-Type", "image/png")]),
        response(200, b"gz", [*JSON, ("Content-Encoding", "gzip")]),
        response(200, b"{", JSON),
        response(200, b"x" * 70 * KIB, [("Content-Type", "text/plain")]),
        EVENTS.replace(b"event-stream", b"plain") + b"%x\r\n%b\r\n0\r\n\r\n" % (70 * KIB, b"x" * 70 * KIB),
        EVENTS + b"%x\r\n%b\r\n0\r\n\r\n" % (70 * KIB, b"x" * 70 * KIB),
    ):
        answering(upstream, raw)
        answer = guarded.request("GET", "/answers", timeout=PATIENCE)
        assert (answer.status, answer.json()["code"]) == (502, "guard_answer_unreadable"), raw[:100]
        answer = guarded.request("GET", "/answers-open", timeout=PATIENCE)
        assert (answer.status, answer.header("X-Portico-Guard")) == (200, "unscanned"), raw[:100]
        assert answer.body in (raw.partition(b"\r\n\r\n")[2], b"x" * 70 * KIB)


def test_answers_without_a_body_pass(guarded: GatewayHarness, upstream: FakeUpstream) -> None:
    assert guarded.request("HEAD", "/answers").status == 200
    answering(upstream, response(204, length=False))
    assert guarded.request("GET", "/answers").status == 204
    for raw in (
        response(200),
        EVENTS + b"0\r\n\r\n",
        EVENTS.replace(b"text/event-stream", b"application/json") + b"0\r\n\r\n",
    ):
        answering(upstream, raw)
        answer = guarded.request("GET", "/answers")
        assert (answer.status, answer.body) == (200, b"")


def test_an_answer_that_breaks_off_while_it_is_held_is_an_error(
    guarded: GatewayHarness, upstream: FakeUpstream
) -> None:
    def breaks(_request: Request, connection: Connection) -> None:
        connection.send(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 999\r\n\r\n{")
        connection.close()

    upstream.handler = breaks
    answer = guarded.request("GET", "/answers", timeout=PATIENCE)
    assert (answer.status, answer.json()["code"]) == (502, "upstream_truncated")


def streaming(upstream: FakeUpstream, pieces: list[bytes]) -> None:
    """Answer with a stream of these pieces, each as a chunk."""

    def stream(_request: Request, connection: Connection) -> bytes:
        connection.send(EVENTS)
        for piece in pieces:
            connection.send(b"%x\r\n%b\r\n" % (len(piece), piece))
        return b"0\r\n\r\n"

    upstream.handler = stream


def cut_up(text: str, size: int = 4) -> list[str]:
    return [text[at : at + size] for at in range(0, len(text), size)]


def test_a_harmless_stream_comes_as_it_is(guarded: GatewayHarness, upstream: FakeUpstream) -> None:
    events = [event(each) for each in cut_up("Paris is the capital of France. " * 20)] + [b": a comment\r\n\r\n", DONE]
    whole = b"".join(events)
    for pieces in (events, [whole], [whole[at : at + 7] for at in range(0, len(whole), 7)]):
        streaming(upstream, pieces)
        for name in ("answers", "answers-open"):
            answer = guarded.request("GET", f"/{name}", timeout=PATIENCE)
            assert (answer.status, answer.body) == (200, whole)
        answer = guarded.request("GET", "/answers-flag", timeout=PATIENCE)
        assert answer.body.startswith(whole)
        assert answer.body[len(whole) :].startswith(b"\n\n: X-Portico-Guard: clean;confidence=0.")


def test_events_pass_while_the_stream_goes_on(guarded: GatewayHarness, upstream: FakeUpstream) -> None:
    def stream(_request: Request, connection: Connection) -> bytes:
        connection.send(EVENTS)
        for number in range(3):
            piece = event(f"This is sentence {number}. ")
            connection.send(b"%x\r\n%b\r\n" % (len(piece), piece))
            assert go_on.pop(0)(), "the client has not seen it"
        return b"0\r\n\r\n"

    seen = [threading.Event() for _ in range(3)]
    upstream.errors.clear()
    for name in ("answers", "answers-flag"):
        for each in seen:
            each.clear()
        go_on = [lambda each=each: each.wait(PATIENCE) for each in seen]
        upstream.handler = stream
        with guarded.connect(PATIENCE) as sock:
            sock.sendall(request_bytes("GET", f"/{name}", "x"))
            received = b""
            for number in range(3):
                while f"sentence {number}".encode() not in received:
                    received += sock.recv(65536)
                seen[number].set()
            while b"0\r\n\r\n" not in received:
                received += sock.recv(65536)
    assert not upstream.errors


@pytest.mark.parametrize(
    "stream",
    [
        b"".join(event(each) for each in cut_up(ATTACK)),
        b"".join(b": alive\n" + event(each) for each in cut_up(ATTACK)),
        b"\xef\xbb\xbfdata: " + ATTACK.encode() + b"\n\n",
        b"event: " + ATTACK.encode() + b"\ndata: 1\n\n",
    ],
    ids=["deltas", "with comments", "behind a byte order mark", "another field"],
)
def test_an_attack_at_the_beginning_of_a_stream_is_a_refusal(
    guarded: GatewayHarness, upstream: FakeUpstream, stream: bytes
) -> None:
    streaming(upstream, [stream])
    answer = guarded.request("GET", "/answers", timeout=PATIENCE)
    assert (answer.status, answer.json()["code"]) == (502, "guard_answer_blocked")


def test_what_went_out_ends_with_an_error_and_uncleanly(guarded: GatewayHarness, upstream: FakeUpstream) -> None:
    def stream(_request: Request, connection: Connection) -> None:
        first = event("Paris is the capital of France. ")
        connection.send(EVENTS + b"%x\r\n%b\r\n" % (len(first), first))
        assert reached.wait(PATIENCE)
        for each in cut_up(ATTACK):
            connection.send(b"%x\r\n%b\r\n" % (len(event(each)), event(each)))
        left.append(connection.gone(PATIENCE))
        connection.close()

    reached, left = threading.Event(), list[bool]()
    upstream.handler = stream
    with guarded.connect(PATIENCE) as sock:
        sock.sendall(request_bytes("GET", "/answers/cut", "x"))
        received = b""
        while b"capital" not in received:
            received += sock.recv(65536)
        reached.set()
        while data := sock.recv(65536):
            received += data
    assert b"event: error\ndata: {" in received
    assert b'"code": "guard_answer_blocked"' in received
    assert not received.endswith(b"0\r\n\r\n"), "a part must not look like the whole"
    assert b"reveal" not in received
    wait_for(lambda: left == [True], PATIENCE)
    line = logged(guarded, "/answers/cut")
    assert (line["status"], line["code"], line["guard"]) == (200, "guard_answer_blocked", {"response": "malicious"})


def test_a_flagged_stream_tells_at_its_end(guarded: GatewayHarness, upstream: FakeUpstream) -> None:
    events = [event(each) for each in cut_up(ATTACK)] + [event(" And more.") for _ in range(5)] + [DONE]
    streaming(upstream, events)
    answer = guarded.request("GET", "/answers-flag", timeout=PATIENCE)
    assert answer.body.startswith(b"".join(events))
    assert b"\n\n: X-Portico-Guard: malicious;confidence=" in answer.body[-120:]


def test_choices_of_a_stream_are_told_apart(guarded: GatewayHarness, upstream: FakeUpstream) -> None:
    other = cut_up("The weather is fine today, and the garden is green, with many flowers in it.")
    pairs = zip(cut_up(ATTACK), other, strict=False)
    streaming(upstream, [b"".join(event(text, index) for pair in pairs for index, text in enumerate(pair)) + DONE])
    assert guarded.request("GET", "/answers", timeout=PATIENCE).status == 502


def test_a_long_stream_is_not_held_whole(guarded: GatewayHarness, upstream: FakeUpstream) -> None:
    events = [event("The garden is green and the sky is blue today. ") for _ in range(20_000)]
    whole = b"".join(events)
    streaming(upstream, [b"".join(events[at : at + 50]) for at in range(0, len(events), 50)])
    assert len(whole) > 2_000_000
    answer = guarded.request("GET", "/answers", timeout=PATIENCE)
    assert answer.body == whole


def test_a_client_that_leaves_a_held_answer_ends_it_upstream(guarded: GatewayHarness, upstream: FakeUpstream) -> None:
    def endless(_request: Request, connection: Connection) -> None:
        connection.send(b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 999\r\n\r\n{")
        left.append(connection.gone(PATIENCE))
        connection.close()

    left: list[bool] = []
    upstream.handler = endless
    with guarded.connect() as sock:
        sock.sendall(request_bytes("GET", "/answers", "x"))
        upstream.wait_for(lambda: bool(upstream.requests), PATIENCE)
    wait_for(lambda: left == [True], PATIENCE)


def test_a_client_of_http_1_0_gets_streams_too(guarded: GatewayHarness, upstream: FakeUpstream) -> None:
    streaming(upstream, [event("Paris. ") * 3, DONE])
    with guarded.connect(PATIENCE) as sock:
        sock.sendall(b"GET /answers HTTP/1.0\r\nHost: x\r\n\r\n")
        received = b""
        while data := sock.recv(65536):
            received += data
    assert received.endswith(event("Paris. ") * 3 + DONE)
