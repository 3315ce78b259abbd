"""Reading by template gives what reading whole gives, for any sequence of blocks, errors included."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import event, given
from hypothesis import strategies as st

from portico.edge.http1.errors import HeadError
from portico.edge.http1.fields import FieldReader
from portico.edge.http1.head import RequestHead, ResponseHead
from portico.edge.http1.names import KNOWN, Names

NAMES = (
    *(b"Host", b"Content-Length", b"Transfer-Encoding", b"Connection", b"Cookie", b"cookie", b"Via", b"ETag", b"X-Foo"),
    *(b"x-foo", b"Date", b"Authorization", b"Traceparent", b"Keep-Alive", b"X-Forwarded-For", b"X_Forwarded_For"),
    *(b"Expect", b"X-Bar", b"Upgrade", b"Sec-WebSocket-Key", b"Content-Type"),
)
VALUES = (
    *(
        b" 1",
        b" 12",
        b" a",
        b"b",
        b" c ",
        b"\td",
        b"",
        b" ",
        b" close",
        b" X-Foo",
        b" keep-alive, x-bar",
        b" a, b",
        b" a b",
    ),
    *(b" chunked", b" 100-continue", b" websocket", b" upgrade", b" \xff", b" :", b" x: y"),
)
HOSTILE = (
    b" 1\r",
    b" 1\n",
    b" \0",
    b"\r\n fold",
    b" 1\r\nX-New: 2",
    b" 1\r\nHost: evil",
    b" 1\r\n",
    b" 1\nX: 2",
    b"\x7f",
)
ASKED = (b"x-foo", b"x-bar", b"x-new", b"cookie", b"host", b"x_forwarded_for", b"content-length", b"via", b"foo")

Line = tuple[bytes, bytes]
line = st.tuples(st.sampled_from(NAMES), st.sampled_from(VALUES))
any_value = st.one_of(st.sampled_from(VALUES), st.sampled_from(VALUES), st.sampled_from(HOSTILE))
any_line = st.one_of(
    line,
    line,
    st.tuples(st.sampled_from([b"X-Foo ", b"", b" X-Foo", b"X\0", b"Content-Length "]), st.sampled_from(VALUES)),
)


@st.composite
def blocks(draw: Any) -> list[bytes]:
    """Blocks as a connection sees them: each is made of the one before it by a small change, or none."""
    lines: list[Line] = draw(st.lists(line, max_size=7))
    made = [join(lines)]
    for _ in range(draw(st.integers(2, 9))):
        before = lines
        for _ in range(draw(st.sampled_from([0, 1, 1, 1, 2]))):
            lines = draw(changed(lines))
        made.append(join(lines))
        if draw(st.booleans()):
            lines = before
    return made


def join(lines: list[Line]) -> bytes:
    return b"".join(b"\r\n" + name + b":" + value for name, value in lines)


@st.composite
def changed(draw: Any, lines: list[Line]) -> list[Line]:
    how = draw(st.sampled_from(["value", "value", "value", "value", "line", "drop", "add", "swap"]))
    at = draw(st.integers(0, max(len(lines) - 1, 0)))
    if how == "add" or not lines:
        return [*lines[:at], draw(any_line), *lines[at:]]
    if how == "drop":
        return lines[:at] + lines[at + 1 :]
    if how == "swap":
        return lines[at:] + lines[:at]
    new = (lines[at][0], draw(any_value)) if how == "value" else draw(any_line)
    return [*lines[:at], new, *lines[at + 1 :]]


def outcome(reader: FieldReader, block: bytes) -> Any:
    """Everything that a block gives, or its error."""
    try:
        reader.take(block)
    except HeadError as error:
        return error.status, error.code, error.detail
    got = [reader.get(name) for name in ASKED]
    return reader.kept, dict(reader.known), list(reader.options), list(reader.named), got


@given(blocks(), st.booleans(), st.sampled_from([4, 100]))
def test_fields(sequence: list[bytes], request: bool, most: int) -> None:
    names = Names()
    reader = FieldReader(names, request, most)
    for block in sequence:
        before = reader.lines
        assert outcome(reader, block) == outcome(FieldReader(Names(), request, most), block)
        event("by template" if reader.lines is before and reader.block == block else "whole")


def request_outcome(reader: RequestHead, head: bytes) -> Any:
    try:
        reader.read(head)
    except HeadError as error:
        return error.status, error.code, error.detail
    fields = reader.fields
    names = "method target version path match query host authority keep_alive length expect websocket"
    return [getattr(reader, name) for name in names.split()], fields.kept, dict(fields.known)


REQUEST_LINES = (
    *(
        b"GET /a HTTP/1.1",
        b"GET /b?c HTTP/1.0",
        b"POST /a HTTP/1.1",
        b"OPTIONS * HTTP/1.1",
        b"",
        b"GET /a",
        b"GET  /a HTTP/1.1",
    ),
    *(b"GET http://a/x HTTP/1.1", b"GET https://a:1/x HTTP/1.1", b"GET /%zz HTTP/1.1", b"OPTIONS http://a HTTP/1.0"),
)
request_line = st.sampled_from(REQUEST_LINES)


@given(blocks(), st.lists(request_line, min_size=10, max_size=10), st.booleans())
def test_request_heads(sequence: list[bytes], lines: list[bytes], one_line: bool) -> None:
    reader = RequestHead(Names())
    for block, start in zip(sequence, lines, strict=False):
        head = (lines[0] if one_line else start) + block
        assert request_outcome(reader, head) == request_outcome(RequestHead(Names()), head)


def response_outcome(reader: ResponseHead, head: bytes, method: bytes) -> Any:
    try:
        reader.read(head, method)
    except HeadError as error:
        return error.status, error.code, error.detail
    fields = reader.fields
    names = "status reason version keep_alive length upgrade"
    return [getattr(reader, name) for name in names.split()], fields.kept, dict(fields.known)


status_line = st.sampled_from(
    [
        b"HTTP/1.1 200 OK",
        b"HTTP/1.0 200 OK",
        b"HTTP/1.1 304",
        b"HTTP/1.1 101 S",
        b"",
        b"HTTP/1.1 2000",
        b"HTTP/1.1 204 ",
    ]
)


@given(blocks(), st.lists(st.tuples(status_line, st.sampled_from([b"GET", b"HEAD"])), min_size=10, max_size=10))
def test_response_heads(sequence: list[bytes], starts: list[tuple[bytes, bytes]]) -> None:
    reader = ResponseHead(Names())
    for block, (start, method) in zip(sequence, starts, strict=False):
        head = start + block
        assert response_outcome(reader, head, method) == response_outcome(ResponseHead(Names()), head, method)


BASE = b"\r\nHost: a\r\nTraceparent: %b\r\nX-A: 1\r\nContent-Length: %b\r\nX-B: %b"


def warm() -> FieldReader:
    """A reader whose template has holes at Traceparent, Content-Length and X-B."""
    reader = FieldReader(Names(), True)
    reader.take(BASE % (b"1", b"2", b"3"))
    reader.take(BASE % (b"4", b"5", b"6"))
    return reader


def test_a_block_that_fits_is_not_read_whole() -> None:
    reader = warm()
    lines = reader.lines
    reader.take(BASE % (b"777", b" 88 ", b""))
    assert reader.lines is lines
    assert reader.kept == b"\r\nTraceparent: 777\r\nX-A: 1\r\nX-B: "
    assert [reader.get(name) for name in (b"traceparent", b"content-length", b"x-b", b"x-a", b"host")] == [
        b"777",
        b"88",
        b"",
        b"1",
        b"a",
    ]


def test_an_equal_block_is_not_read_at_all() -> None:
    reader = warm()
    kept, known = reader.kept, reader.known
    reader.take(BASE % (b"4", b"5", b"6"))
    assert reader.kept is kept
    assert reader.known is known


@pytest.mark.parametrize(
    "value", [b"1\r", b"1\n", b"1\nHost: b", b"\0", b"\x7f", b"1\r\n fold", b"1\r\nHost: b", b"1\r\n: x"]
)
@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_hole_lets_nothing_through_that_a_whole_reading_refuses(value: bytes, place: int) -> None:
    values = [b"4", b"5", b"6"]
    values[place] = value
    block = BASE % tuple(values)
    reader = warm()
    with pytest.raises(HeadError):
        reader.take(block)
    assert reader.kept == b""
    assert reader.known == {}


def test_get_after_a_filled_template_reads_the_new_block() -> None:
    reader = warm()
    assert reader.get(b"x-b") == b"6"
    reader.take(BASE % (b"7", b"8", b"9"))
    assert reader.get(b"x-b") == b"9"


def test_an_error_leaves_nothing_to_match() -> None:
    reader = warm()
    bad = BASE % (b"7", b"8", b"9\0")
    for _ in range(2):
        with pytest.raises(HeadError):
            reader.take(bad)
    reader.take(b"")
    assert (reader.kept, reader.known, reader.get(b"x-b")) == (b"", {}, None)
    reader.take(BASE % (b"7", b"8", b"9"))
    assert reader.get(b"host") == b"a"


def test_repeated_fields_are_joined_again_when_one_changes() -> None:
    reader = FieldReader(Names(), True)
    for value in (b"1", b"2", b"3", b"4"):
        reader.take(b"\r\nVia: a\r\nX-A: b\r\nVia: " + value)
        assert reader.known[KNOWN[b"via"]] == b"a, " + value


def test_connection_that_names_fields_is_read_each_time() -> None:
    reader = FieldReader(Names(), True)
    for value, kept in ((b"close", b"\r\nX-A: 1"), (b"x-a", b""), (b"x-b", b"\r\nX-A: 1"), (b"x-a, x-b", b"")):
        reader.take(b"\r\nConnection: " + value + b"\r\nX-A: 1")
        assert reader.kept == kept


def test_a_head_refused_for_its_meaning_is_refused_again() -> None:
    reader = RequestHead(Names())
    reader.read(b"GET / HTTP/1.1\r\nHost: a")
    for _ in range(2):
        with pytest.raises(HeadError):
            reader.read(b"GET / HTTP/1.1\r\nHost: a b")
    for _ in range(2):
        with pytest.raises(HeadError):
            reader.read(b"")


def test_a_changed_connection_changes_the_options() -> None:
    reader = FieldReader(Names(), True)
    for value in (b"close", b"keep-alive", b"upgrade", b"close", b"x-a"):
        reader.take(b"\r\nX-A: 1\r\nConnection: " + value)
        assert reader.options == [value]
        assert reader.get(b"x-a") == (None if value == b"x-a" else b"1")


def test_a_named_field_stays_away_while_others_change() -> None:
    reader = FieldReader(Names(), True)
    for value in (b"1", b"2", b"3", b"4"):
        reader.take(b"\r\nConnection: x-a, via\r\nVia: " + value + b"\r\nX-A: " + value + b"\r\nX-B: " + value)
        assert reader.kept == b"\r\nX-B: " + value
        assert [reader.get(name) for name in (b"x-a", b"via", b"x-b")] == [None, None, value]
