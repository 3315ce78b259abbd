"""Body framing; the grammar's cases are in the conformance corpus."""

from __future__ import annotations

import h11
import pytest
from hypothesis import given
from hypothesis import strategies as st

from portico.edge.http1.body import CHUNKED, LAST_CHUNK, NO_BODY, UNTIL_CLOSE, BodyReader, chunk
from portico.edge.http1.errors import HeadError


def started(length: int) -> BodyReader:
    reader = BodyReader()
    reader.start(length)
    return reader


@pytest.mark.parametrize("length", [0, NO_BODY])
def test_no_body_is_done_at_once_and_all_is_rest(length: int) -> None:
    reader = started(length)
    assert reader.done
    assert reader.feed(b"next") == b""
    assert reader.feed(b" one") == b""
    assert reader.rest == b"next one"


def test_by_length() -> None:
    reader = started(5)
    first = b"hel"
    assert reader.feed(first) is first
    assert not reader.done
    assert reader.feed(b"lo, next") == b"lo"
    assert (reader.done, reader.rest) == (True, b", next")


def test_a_piece_that_ends_the_body_is_not_copied() -> None:
    reader = started(5)
    data = b"hello"
    assert reader.feed(data) is data
    assert (reader.done, reader.rest) == (True, b"")


def test_until_close_is_never_done() -> None:
    reader = started(UNTIL_CLOSE)
    assert [reader.feed(data) for data in (b"a", b"", b"0\r\n\r\n")] == [b"a", b"", b"0\r\n\r\n"]
    assert not reader.done


def test_empty_feeds_change_nothing() -> None:
    reader = started(CHUNKED)
    assert [reader.feed(data) for data in (b"", b"1\r", b"", b"\na", b"", b"\r\n0\r\n\r\n")] == [
        b"",
        b"",
        b"",
        b"a",
        b"",
        b"",
    ]
    assert reader.done


def test_one_reader_takes_one_body_after_another() -> None:
    reader = started(CHUNKED)
    assert reader.feed(b"1\r\na\r\n0\r\nX: y\r\n\r\nrest") == b"a"
    assert reader.rest == b"rest"
    reader.start(2)
    assert (reader.done, reader.rest, reader.feed(b"bcd"), reader.rest) == (False, b"", b"bc", b"d")
    reader.start(CHUNKED)
    assert (reader.feed(b"1\r\ne\r\n0\r\n" + b"A: %b\r\n\r\n" % (b"b" * 8000)), reader.done) == (b"e", True)
    reader.start(CHUNKED)
    assert (reader.feed(b"0\r\n" + b"A: %b\r\n\r\n" % (b"b" * 8000)), reader.done) == (b"", True)


def test_payload_comes_out_as_it_comes_in() -> None:
    reader = started(CHUNKED)
    assert [reader.feed(data) for data in (b"5\r\nhe", b"l", b"lo", b"\r\n", b"2\r\n, ")] == [
        b"he",
        b"l",
        b"lo",
        b"",
        b", ",
    ]
    assert not reader.done


@pytest.mark.parametrize(
    "begun",
    [
        b"1\n",
        b"1\rx",
        b"1;\0",
        b"1\r\naX",
        b"1\r\na\n",
        b"1\r\na\rX",
        b"0\r\nA\n",
        b"0\r\n\rX",
        b"0" * 300,
        b"0\r\n" + b"a" * 9000,
    ],
)
def test_what_can_only_go_wrong_is_refused_before_the_line_ends(begun: bytes) -> None:
    with pytest.raises(HeadError) as caught:
        started(CHUNKED).feed(begun)
    assert (caught.value.status, caught.value.code) == (400, "bad_chunk")


def test_little_is_held_of_an_unfinished_line() -> None:
    reader = started(CHUNKED)
    for _ in range(256):
        reader.feed(b"0")
    assert len(reader.held) == 256
    with pytest.raises(HeadError):
        reader.feed(b"0")


def test_an_empty_chunk_is_no_chunk() -> None:
    assert chunk(b"") == b""
    assert chunk(b"x" * 255) == b"ff\r\n" + b"x" * 255 + b"\r\n"


@given(st.lists(st.binary(max_size=300), max_size=6), st.binary(max_size=10))
def test_what_is_encoded_is_decoded_by_us_and_by_h11(parts: list[bytes], after: bytes) -> None:
    raw = b"".join(chunk(part) for part in parts) + LAST_CHUNK
    reader = started(CHUNKED)
    assert reader.feed(raw + after) == b"".join(parts)
    assert (reader.done, reader.rest) == (True, after)
    connection = h11.Connection(h11.SERVER)
    connection.receive_data(b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + raw)
    connection.next_event()
    body = b""
    while isinstance(happened := connection.next_event(), h11.Data):
        body += happened.data
    assert isinstance(happened, h11.EndOfMessage)
    assert body == b"".join(parts)


def test_many_small_chunks_take_time_in_proportion() -> None:
    raw = b"1\r\na\r\n" * 50_000 + LAST_CHUNK
    reader = started(CHUNKED)
    assert reader.feed(raw) == b"a" * 50_000
