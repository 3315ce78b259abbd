"""The writing half of a client connection: answers with framing of the edge's own, gathered into few writes."""

from __future__ import annotations

from typing import Any

from portico.edge.exchange import UNKNOWN_LENGTH, Downstream, Exchange, decimal
from portico.edge.http1.body import chunk


class Answering(Downstream):
    """What a connection needs to write answers and to hold its reading back."""

    def __init__(self) -> None:
        self.transport: Any = None
        self.out = b""  # written at flush() or done()
        self.keep_alive = True
        self.chunked = False
        self.framed = True  # the answer's end is told by its framing, not by the connection's
        self.reading = True
        self.writable = True

    def respond(self, exchange: Exchange, status: int, reason: bytes, fields: bytes, length: int) -> None:
        exchange.status = status
        exchange.responding = True
        if exchange.response_edit is not None:
            fields = exchange.response_edit.apply(fields)
        self.out = b"".join([
            b"HTTP/1.1 ", decimal(status), b" ", reason, fields, b"\r\nX-Request-Id: ", exchange.request_id,
            exchange.response_fields, self._framing(exchange, length), b"\r\n\r\n",
        ])  # fmt: skip

    def _framing(self, exchange: Exchange, length: int) -> bytes:
        """The framing fields, always of our own making."""
        self.chunked = False
        self.framed = True
        lines = b""
        if length >= 0:
            lines = b"\r\nContent-Length: " + decimal(length)
        elif length == UNKNOWN_LENGTH:
            if exchange.version == 11:
                self.chunked = True
                lines = b"\r\nTransfer-Encoding: chunked"
            else:
                self.framed = False
                self.keep_alive = False
        if not self.keep_alive:
            return lines + b"\r\nConnection: close"
        if exchange.version == 10:
            return lines + b"\r\nConnection: keep-alive"
        return lines

    def inform(self, exchange: Exchange, status: int, reason: bytes, fields: bytes) -> None:
        if exchange.version == 11:
            self.transport.write(b"HTTP/1.1 %d " % status + reason + fields + b"\r\n\r\n")

    def send(self, exchange: Exchange, data: bytes) -> None:
        self.out += chunk(data) if self.chunked else data

    def flush(self, exchange: Exchange) -> None:
        if self.out:
            self.transport.write(self.out)
            self.out = b""
        if not self.writable and exchange.target_side is not None:
            exchange.target_side.pause()

    def pause(self) -> None:
        if self.reading and not self.transport.is_closing():
            self.reading = False
            self.transport.pause_reading()

    def resume(self) -> None:
        if not self.reading and not self.transport.is_closing():
            self.reading = True
            self.transport.resume_reading()
