"""TLS on one connection: a protocol to the TCP transport below it, a transport to the protocol above it.

Why not the loop's own: when the peer's FIN comes while reading is paused, that one loses what it holds; it ends alike
after close_notify and without; it can't end one side only; and each connection keeps a buffer of 256 KiB.
"""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from typing import Any, Final

from portico.edge.tls import TlsEnded

HANDSHAKE: Final = 0
OPEN: Final = 1
ENDED: Final = 2  # our side has said its last word (close_notify); what still comes is thrown away
CLOSED: Final = 3


class SecureConnection:
    """Client or server side of TLS. `ready` gets None when the handshake is done, or what stopped it."""

    def __init__(
        self, loop: Any, app: Any, context: ssl.SSLContext, scratch: memoryview, server_side: bool, name: str | None
    ) -> None:
        self.loop = loop
        self.app = app  # a BufferedProtocol
        self.scratch = scratch  # ciphertext is read into it, copied, and then plaintext
        self.incoming = ssl.MemoryBIO()
        self.outgoing = ssl.MemoryBIO()
        self.tls: Any = context.wrap_bio(self.incoming, self.outgoing, server_side, name)
        self.transport: Any = None
        self.ready: asyncio.Future[None] = loop.create_future()
        self.phase = HANDSHAKE
        self.reading = True
        self.notified = False  # the peer's close_notify has come
        self.failure: Exception | None = None

    def itself(self) -> SecureConnection:
        """The protocol factory of this one connection."""
        return self

    # -- the TCP transport's side

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        self._shake()

    def get_buffer(self, sizehint: int) -> memoryview:
        return self.scratch

    def buffer_updated(self, size: int) -> None:
        if self.phase >= ENDED:
            return
        self.incoming.write(self.scratch[:size])
        if self.phase == HANDSHAKE:
            self._shake()
        else:
            self._read()

    def eof_received(self) -> bool:
        return False

    def connection_lost(self, error: Exception | None) -> None:
        phase = self.phase
        self.phase = CLOSED
        if not self.ready.done():
            self.ready.set_exception(
                self.failure or error or ConnectionResetError("the peer left in the TLS handshake")
            )
            self.ready.exception()  # whoever asked may have given up already: that is no news for the log
        if phase == HANDSHAKE:
            return
        if error is None:
            error = self.failure
        if error is None and phase == OPEN and not self.notified:
            error = TlsEnded("the peer ended the connection without closing TLS")
        app, self.app = self.app, None  # they hold each other; nobody collects cycles in a hurry
        app.connection_lost(error)

    def pause_writing(self) -> None:
        if self.phase == OPEN:
            self.app.pause_writing()

    def resume_writing(self) -> None:
        if self.phase == OPEN:
            self.app.resume_writing()

    # -- the handshake

    def _shake(self) -> None:
        try:
            self.tls.do_handshake()
        except ssl.SSLWantReadError:
            self._flush()
            return
        except (ssl.SSLError, ValueError) as error:
            self.failure = error
            self._flush()  # the alert that tells the peer why
            self.transport.close()
            return
        self.phase = OPEN
        self._flush()
        self.app.connection_made(self)
        if not self.ready.done():
            self.ready.set_result(None)
        self._read()

    # -- reading

    def _read(self) -> None:
        """Give what has come to the protocol above, as long as it takes it."""
        while self.phase == OPEN and self.reading and not self.notified:
            size = self._decrypt()
            if size > 0:
                self.app.buffer_updated(size)
            if self.failure is not None:
                self.abort()
                return
            if self.notified:
                self.app.eof_received()
                self.close()
                return
            if size == 0:
                break
        if self.outgoing.pending:
            self._flush()

    def _decrypt(self) -> int:
        """Fill the scratch buffer with plaintext; how many bytes there are."""
        scratch = self.app.get_buffer(-1)
        space = len(scratch)
        size = 0
        try:
            while size < space and (self.incoming.pending or self.tls.pending()):
                count = self.tls.read(space - size, scratch[size:])
                if count == 0:
                    self.notified = True
                    break
                size += count
        except ssl.SSLWantReadError:
            return size  # the rest of a record has yet to come
        except ssl.SSLError as error:
            self.failure = error
        return size

    def _again(self) -> None:
        if self.phase != OPEN or not self.reading:
            return
        try:
            self._read()
        except BaseException:
            self.abort()
            raise
        if self.phase == OPEN and self.reading and not self.transport.is_closing():
            self.transport.resume_reading()

    def _flush(self) -> None:
        if self.outgoing.pending and not self.transport.is_closing():
            self.transport.write(self.outgoing.read())

    # -- the transport that the protocol above sees

    def write(self, data: bytes) -> None:
        """Send; what is sent after `close` or `write_eof` is dropped, as by any transport."""
        if self.phase != OPEN or not data:
            return
        try:
            sent = self.tls.write(data)
            while sent < len(data):
                sent += self.tls.write(data[sent:])
        except ssl.SSLError as error:
            self.failure = error
            self.abort()
            return
        self._flush()

    def pause_reading(self) -> None:
        """Nothing more is read from the socket either, so that the end of the stream can't overtake what waits."""
        self.reading = False
        if not self.transport.is_closing():
            self.transport.pause_reading()

    def resume_reading(self) -> None:
        """Read again, beginning with what waits here."""
        if not self.reading:
            self.reading = True
            self.loop.call_soon(self._again)

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        """End our side; from now on what comes is thrown away."""
        if self.phase == OPEN:
            self._notify()
            if not self.transport.is_closing():
                self.transport.write_eof()
                self.transport.resume_reading()

    def close(self) -> None:
        """Say close_notify and close when everything is written."""
        if self.phase == OPEN:
            self._notify()
        self.transport.close()

    def _notify(self) -> None:
        self.phase = ENDED
        with contextlib.suppress(ssl.SSLError):  # "want read": ours is written, and nobody waits for the peer's
            self.tls.unwrap()
        self._flush()

    def abort(self) -> None:
        """Close at once, without close_notify: the peer can tell that it is no regular end."""
        if self.transport is not None:
            self.transport.abort()

    def is_closing(self) -> bool:
        return self.phase >= ENDED or bool(self.transport.is_closing())

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self.transport.set_write_buffer_limits(high, low)

    def get_write_buffer_size(self) -> int:
        return int(self.transport.get_write_buffer_size())

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        """`ssl_object`, or what the TCP transport knows (`peername`, `socket`)."""
        return self.tls if name == "ssl_object" else self.transport.get_extra_info(name, default)
