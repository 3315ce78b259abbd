"""Runs bytes, in any pieces, through the readers as a connection does, and writes down what came out."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from portico.edge.http1.body import BodyReader
from portico.edge.http1.errors import HeadError
from portico.edge.http1.head import RequestHead, ResponseHead
from portico.edge.http1.names import Names

REQUEST = ("method", "target", "path", "match", "query", "host", "authority", "version", "expect", "websocket")
RESPONSE = ("status", "reason", "version", "upgrade")
BOTH = ("length", "keep_alive")


@dataclass
class Message:
    """One message: the reader's attributes, its fields, and its body as far as it came."""

    head: dict[str, Any]
    kept: bytes
    known: dict[int, bytes]
    block: bytes
    body: bytes = b""
    complete: bool = False


@dataclass
class Reading:
    """What came of some bytes: messages in order, then an error (status, code), or bytes of an unfinished head."""

    messages: list[Message] = field(default_factory=list)
    error: tuple[int, str] | None = None
    rest: bytes = b""


def read_requests(pieces: Iterable[bytes]) -> Reading:
    """Read pipelined requests."""
    reader = RequestHead(Names())
    return _read(pieces, reader, REQUEST + BOTH, None)


def read_responses(pieces: Iterable[bytes], methods: Iterable[bytes]) -> Reading:
    """Read one response to each of `methods`; an interim one doesn't count. What nobody asked for is the rest."""
    reader = ResponseHead(Names())
    return _read(pieces, reader, RESPONSE + BOTH, list(methods))


def bytewise(raw: bytes) -> list[bytes]:
    """The bytes one by one."""
    return [raw[i : i + 1] for i in range(len(raw))]


def _read(
    pieces: Iterable[bytes], reader: RequestHead | ResponseHead, names: tuple[str, ...], methods: list[bytes] | None
) -> Reading:
    reading = Reading()
    body = BodyReader()
    current: Message | None = None
    for piece in pieces:
        data = piece
        while data or (current is not None and body.done):
            try:
                if current is None:
                    if methods == []:
                        reading.rest += data
                        break
                    current, data = _begin(reading, reader, body, names, methods, data)
                    if current is None:
                        break
                current.body += body.feed(data)
            except HeadError as error:
                reading.error = error.status, error.code
                return reading
            if not body.done:
                break
            data = body.rest
            current.complete = True
            current = None
    return reading


def _begin(
    reading: Reading,
    reader: RequestHead | ResponseHead,
    body: BodyReader,
    names: tuple[str, ...],
    methods: list[bytes] | None,
    data: bytes,
) -> tuple[Message | None, bytes]:
    """Read the head when it is complete; the message it begins and the bytes after it."""
    reading.rest += data
    end = reading.rest.find(b"\r\n\r\n")
    if end < 0:
        return None, b""
    head, after = reading.rest[:end], reading.rest[end + 4 :]
    reading.rest = b""
    if isinstance(reader, ResponseHead):
        assert methods
        reader.read(head, methods[0])
        if reader.status >= 200 or reader.upgrade:
            methods.pop(0)
    else:
        reader.read(head)
    fields = reader.fields
    message = Message({name: getattr(reader, name) for name in names}, fields.kept, dict(fields.known), fields.block)
    reading.messages.append(message)
    body.start(reader.length)
    return message, after
