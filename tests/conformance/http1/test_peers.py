"""What our readers accept, llhttp (httptools) and h11 read alike, as far as they accept it themselves."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import h11
import httptools
import pytest
from hypothesis import event, given
from hypothesis import strategies as st
from tests.conformance.http1.corpus import Case, load
from tests.conformance.http1.driver import Message, read_requests, read_responses

from portico.edge.http1.fields import FieldReader
from portico.edge.http1.names import Names

Fields = list[tuple[bytes, bytes]]


@dataclass
class Read:
    """One message as a peer read it; `fields` in lower case and stripped."""

    start: tuple[bytes, ...] = ()
    fields: Fields = field(default_factory=list)
    body: bytes = b""
    complete: bool = False


class Listener:
    """What httptools calls. Trailers come as headers after the head; they are not the head's."""

    def __init__(self) -> None:
        self.read = Read()
        self.url = b""
        self.reason = b""
        self.in_head = True

    def on_url(self, url: bytes) -> None:
        self.url += url

    def on_status(self, reason: bytes) -> None:
        self.reason += reason

    def on_header(self, name: bytes, value: bytes) -> None:
        if self.in_head:
            self.read.fields.append((name.lower(), value.strip(b" \t")))

    def on_headers_complete(self) -> None:
        self.in_head = False

    def on_body(self, body: bytes) -> None:
        self.read.body += body

    def on_message_complete(self) -> None:
        self.read.complete = True


def llhttp_request(raw: bytes) -> Read | None:
    """What llhttp reads, or None when it refuses or gives the connection up to an upgrade."""
    listener = Listener()
    parser = httptools.HttpRequestParser(listener)
    try:
        parser.feed_data(raw)
    except (httptools.HttpParserError, httptools.HttpParserUpgrade):
        return None
    listener.read.start = (parser.get_method(), listener.url, parser.get_http_version().encode())
    return listener.read


def llhttp_response(raw: bytes) -> Read | None:
    listener = Listener()
    parser = httptools.HttpResponseParser(listener)
    try:
        parser.feed_data(raw)
    except (httptools.HttpParserError, httptools.HttpParserUpgrade):
        return None
    listener.read.start = (b"%d" % parser.get_status_code(), listener.reason, parser.get_http_version().encode())
    return listener.read


def h11_read(connection: h11.Connection, raw: bytes) -> Read | None:
    """What h11 reads, or None when it refuses."""
    read = Read()
    try:
        connection.receive_data(raw)
        while True:
            happened = connection.next_event()
            if happened in (h11.NEED_DATA, h11.PAUSED):
                break
            if isinstance(happened, h11.Request):
                read.start = (happened.method, happened.target, happened.http_version)
                read.fields = list(happened.headers)
            elif isinstance(happened, (h11.Response, h11.InformationalResponse)):
                read.start = (b"%d" % happened.status_code, happened.reason, happened.http_version)
                read.fields = list(happened.headers)
            elif isinstance(happened, h11.Data):
                read.body += happened.data
            elif isinstance(happened, h11.EndOfMessage):
                read.complete = True
                break
    except h11.RemoteProtocolError:
        return None
    return read


def h11_request(raw: bytes) -> Read | None:
    return h11_read(h11.Connection(h11.SERVER, max_incomplete_event_size=1 << 20), raw)


def h11_response(raw: bytes, method: bytes) -> Read | None:
    connection = h11.Connection(h11.CLIENT, max_incomplete_event_size=1 << 20)
    connection.send(h11.Request(method=method, target=b"/", headers=[(b"Host", b"a")]))
    connection.send(h11.EndOfMessage())
    return h11_read(connection, raw)


def compare(message: Message, start: tuple[bytes, ...], peer: Read, request: bool) -> None:
    """One message, read by us and by a peer."""
    assert peer.start == start
    assert peer.body == message.body
    assert peer.complete == message.complete
    fields = FieldReader(Names(), request)
    fields.take(message.block)
    named = set(fields.named)
    joined: dict[bytes, list[bytes]] = {}
    for name, value in peer.fields:
        joined.setdefault(name, []).append(value)
    assert len(peer.fields) == message.block.count(b"\r\n")
    for name, values in joined.items():
        if name not in named:
            ours = fields.get(name)
            assert ours is not None
            theirs = b", ".join(values)
            assert ours == theirs or (name == b"transfer-encoding" and ours.lower() == theirs)  # h11 writes it small
    kept = [(line.partition(b":")[0].lower(), line.partition(b":")[2].strip(b" \t")) for line in lines(message.kept)]
    left = iter(peer.fields)
    assert all(line in left for line in kept), "what is passed on are lines that the peer saw, in its order"


def lines(block: bytes) -> list[bytes]:
    return block.split(b"\r\n")[1:]


def start_of(message: Message, request: bool) -> tuple[bytes, ...]:
    version = b"1.1" if message.head["version"] == 11 else b"1.0"
    if request:
        return message.head["method"], message.head["target"], version
    return b"%d" % message.head["status"], message.head["reason"], version


def first_request(raw: bytes) -> Message | None:
    """The first request as we read it, if we take it and all that came of it."""
    reading = read_requests([raw])
    return reading.messages[0] if reading.messages and not reading.error and not reading.rest else None


token = st.text(alphabet="abcXYZ0189-_!#", min_size=1, max_size=12).map(str.encode)
value = st.binary(max_size=20).map(lambda text: text.translate(None, bytes(range(32)) + b"\x7f"))
ows = st.sampled_from([b"", b" ", b"\t", b"  "])
path = st.text(alphabet="/abc.-_~!$&'()*+,=:@09", max_size=20).map(lambda text: b"/" + text.encode())
query = st.text(alphabet="abc=&%?/.", max_size=10).map(lambda text: b"?" + text.encode() if text else b"")
plain_name = token.map(lambda name: b"x-" + name)
sizes = st.lists(st.binary(min_size=1, max_size=40), max_size=4)
trailer = st.sampled_from([b"", b"X-T: 1\r\n", b"X-T: 1\r\nX-U:\r\n"])
extension = st.sampled_from([b"", b";a", b";a=b", b';a="b c"'])


@st.composite
def body(draw: Any) -> tuple[bytes, bytes]:
    """A framing field line and the bytes after the head."""
    kind = draw(st.sampled_from(["none", "length", "chunked"]))
    if kind == "none":
        return b"", b""
    if kind == "length":
        data = draw(st.binary(max_size=60))
        return b"Content-Length: %d\r\n" % len(data), data
    chunks = b"".join(b"%x%b\r\n%b\r\n" % (len(data), draw(extension), data) for data in draw(sizes))
    return b"Transfer-Encoding: chunked\r\n", chunks + b"0\r\n" + draw(trailer) + b"\r\n"


@st.composite
def good_request(draw: Any) -> bytes:
    """A request that every reader has to take."""
    line = st.tuples(plain_name, ows, value, ows).map(lambda parts: b"%b:%b%b%b\r\n" % parts)
    fields = draw(st.lists(line, max_size=5))
    framing, after = draw(body())
    fields.insert(draw(st.integers(0, len(fields))), b"Host: a.example\r\n")
    fields.insert(draw(st.integers(0, len(fields))), framing)
    method = draw(st.sampled_from([b"GET", b"POST", b"PUT", b"DELETE", b"PATCH", b"OPTIONS", b"PROPFIND"]))
    return b"%b %b%b HTTP/1.1\r\n%b\r\n%b" % (method, draw(path), draw(query), b"".join(fields), after)


HOSTILE = (
    *(
        b"\r",
        b"\n",
        b"\r\n",
        b"\r\n\r\n",
        b"\0",
        b" ",
        b"\t",
        b":",
        b";",
        b",",
        b"0",
        b"1",
        b"\x7f",
        b"\xff",
        b"_",
        b"+",
    ),
    *(b"HTTP/1.0", b"Transfer-Encoding: chunked\r\n", b"Content-Length: 3\r\n", b"chunked", b"0\r\n\r\n"),
    *(b"Connection: x-a\r\n", b"Upgrade: foo\r\n", b"GET / HTTP/1.1\r\nHost: a\r\n\r\n", b" \r\n", b"\r\n X: "),
)
SMALL = [case.raw for case in load("requests") if len(case.raw) < 400]


@st.composite
def bent_request(draw: Any) -> bytes:
    """A good request, or one of the corpus, with up to three pieces put in or cut out."""
    raw = draw(st.one_of(good_request(), st.sampled_from(SMALL)))
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(raw)))
        raw = raw[:at] + draw(st.one_of(st.just(b""), st.sampled_from(HOSTILE))) + raw[at + draw(st.integers(0, 2)) :]
    return raw


@given(good_request())
def test_good_requests_are_read_alike_by_all(raw: bytes) -> None:
    message = first_request(raw)
    assert message is not None
    assert message.complete
    for peer in (h11_request(raw), llhttp_request(raw)):
        assert peer is not None
        compare(message, start_of(message, True), peer, True)


@given(bent_request())
def test_bent_requests_are_refused_or_read_alike(raw: bytes) -> None:
    reading = read_requests([raw])
    event("refused" if reading.error else "taken")
    if reading.error or not reading.messages:
        return
    message = reading.messages[0]
    peer = h11_request(raw)
    if peer is not None:
        compare(message, start_of(message, True), peer, True)
    if len(reading.messages) == 1 and not reading.rest:  # llhttp can't stop after a message
        peer = llhttp_request(raw)
        if peer is not None:
            compare(message, start_of(message, True), peer, True)


@pytest.mark.parametrize("case", [case for case in load("requests") if not case.status], ids=lambda case: case.name)
def test_accepted_requests_of_the_corpus(case: Case) -> None:
    message = first_request(case.raw)
    if message is None or len(read_requests([case.raw]).messages) > 1:
        return
    for peer in (h11_request(case.raw), llhttp_request(case.raw)):
        if peer is not None:
            compare(message, start_of(message, True), peer, True)


@pytest.mark.parametrize("case", [case for case in load("responses") if not case.status], ids=lambda case: case.name)
def test_accepted_responses_of_the_corpus(case: Case) -> None:
    reading = read_responses([case.raw], [case.to])
    message = reading.messages[0]
    peer = h11_response(case.raw, case.to)
    if peer is not None and peer.start[0] == b"%d" % message.head["status"]:
        compare(message, start_of(message, False), peer, False)
    if len(reading.messages) == 1 and not reading.rest and case.to != b"HEAD":  # llhttp isn't told what was asked
        peer = llhttp_response(case.raw)
        if peer is not None:
            compare(message, start_of(message, False), peer, False)


@st.composite
def good_response(draw: Any) -> bytes:
    line = st.tuples(plain_name, ows, value).map(lambda parts: b"%b:%b%b\r\n" % parts)
    fields = draw(st.lists(line, max_size=5))
    framing, after = draw(body())
    if not framing:
        framing = b"Content-Length: 0\r\n"
    fields.insert(draw(st.integers(0, len(fields))), framing)
    status = draw(st.sampled_from([b"200 OK", b"201 ", b"404 Not Found", b"503 x y", b"418"]))
    return b"HTTP/1.1 %b\r\n%b\r\n%b" % (status, b"".join(fields), after)


@given(good_response())
def test_good_responses_are_read_alike_by_all(raw: bytes) -> None:
    reading = read_responses([raw], [b"GET"])
    assert reading.error is None
    (message,) = reading.messages
    for peer in (h11_response(raw, b"GET"), llhttp_response(raw)):
        assert peer is not None
        compare(message, start_of(message, False), peer, False)


def test_a_reader_that_is_laxer_than_its_peers_would_be_seen() -> None:
    message = first_request(b"POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nhi")
    assert message is not None
    peer = h11_request(b"POST /a HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\n\r\nho")
    assert peer is not None
    with pytest.raises(AssertionError):
        compare(message, start_of(message, True), peer, True)
