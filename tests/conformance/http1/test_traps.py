"""What other readers were seen to get wrong; each has a sentence of its own here besides its cases in the corpus."""

from __future__ import annotations

import pytest
from tests.conformance.http1.driver import bytewise, read_requests, read_responses

from portico.edge.http1 import names

HEAD = b"POST /1 HTTP/1.1\r\nHost: a\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
SECOND = b"GET /2 HTTP/1.1\r\nHost: a\r\n\r\n"


def test_body_of_a_request_with_an_unknown_upgrade_is_not_a_second_request() -> None:
    raw = HEAD + b"Connection: upgrade\r\nUpgrade: foo\r\nContent-Length: %d\r\n\r\n" % len(SECOND) + SECOND
    (message,) = read_requests([raw]).messages
    assert message.body == SECOND
    assert not message.head["websocket"]
    assert message.kept == b""


def test_chunked_body_of_a_request_with_an_unknown_upgrade_is_not_lost() -> None:
    raw = (
        HEAD + b"Connection: upgrade\r\nUpgrade: foo\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nhi\r\n0\r\n\r\n" + SECOND
    )
    first, second = read_requests([raw]).messages
    assert (first.body, second.head["path"]) == (b"hi", b"/2")


def test_chunked_trailers_never_become_fields() -> None:
    trailers = b"Host: b\r\nX-Portico-Principal: root\r\nX-T: 1\r\nTransfer-Encoding: chunked\r\n"
    for pieces in ([CHUNKED + b"0\r\n" + trailers + b"\r\n"], bytewise(CHUNKED + b"0\r\n" + trailers + b"\r\n")):
        (message,) = read_requests(pieces).messages
        assert message.complete
        assert message.body == b""
        assert (message.kept, message.known, message.head["host"]) == (
            b"",
            {names.TRANSFER_ENCODING: b"chunked", names.HOST: b"a"},
            b"a",
        )


def test_response_after_a_head_is_not_the_heads_body() -> None:
    raw = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nHTTP/1.1 404 Not Found\r\nContent-Length: 2\r\n\r\nno"
    first, second = read_responses([raw], [b"HEAD", b"GET"]).messages
    assert (first.head["status"], first.body, first.complete) == (200, b"", True)
    assert (second.head["status"], second.body, second.complete) == (404, b"no", True)


def test_the_same_head_answers_a_head_and_then_a_get() -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n"
    first, second = read_responses([head + head + b"hi"], [b"HEAD", b"GET"]).messages
    assert (first.body, second.body, second.head["length"]) == (b"", b"hi", 2)


def test_unsolicited_response_is_left_unread() -> None:
    response = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"
    reading = read_responses([response + response], [b"GET"])
    assert len(reading.messages) == 1
    assert reading.rest == response


def test_pipelined_requests_are_read_one_at_a_time() -> None:
    reading = read_requests([SECOND * 1_000])
    assert len(reading.messages) == 1_000
    assert all(message.complete for message in reading.messages)


@pytest.mark.parametrize(
    ("raw", "error"),
    [
        (b"GET /\r\n\r\n", (400, "bad_request_line")),
        (b"GET / HTTP/0.9\r\n\r\n", (505, "version_not_supported")),
        (b"OPTIONS / RTSP/1.0\r\nHost: a\r\n\r\n", (400, "bad_request_line")),
        (b"SOURCE / ICE/1.0\r\nHost: a\r\n\r\n", (400, "bad_request_line")),
        (HEAD + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", (501, "bad_transfer_encoding")),
        (b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n", (400, "bad_transfer_encoding")),
        (b"GET / HTTP/1.1\r\n\r\n", (400, "bad_host")),
    ],
    ids=["http-0.9", "http-0.9-said", "rtsp", "ice", "gzip-chunked", "te-in-1.0", "missing-host"],
)
def test_refused(raw: bytes, error: tuple[int, str]) -> None:
    for pieces in ([raw], bytewise(raw)):
        reading = read_requests(pieces)
        assert reading.error == error
        assert reading.messages == []


def test_nothing_after_a_refused_request_is_read() -> None:
    reading = read_requests([b"GET / HTTP/1.1\r\n\r\n" + SECOND])
    assert reading.error
    assert reading.messages == []
