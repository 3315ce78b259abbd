"""The channel between the supervisor and its children: JSON objects over an inherited Unix stream socket pair.

Each message is four bytes of length, big-endian, and that many bytes of JSON text (UTF-8), at most `MAX_MESSAGE`.
What the messages say is told in `portico.runtime` and `portico.services.process`.
"""

from __future__ import annotations

import asyncio
import json
import socket
from typing import Any, Final

from portico.errors import ChannelError

MAX_MESSAGE: Final = 64 * 1024 * 1024
MAX_PENDING: Final = 2 * MAX_MESSAGE  # a child that stops reading must not fill the supervisor's memory
CHUNK: Final = 256 * 1024

Message = dict[str, Any]


def encode(message: Message) -> bytes:
    """The message as it travels; ChannelError when it is longer than MAX_MESSAGE."""
    text = json.dumps(message, separators=(",", ":")).encode()
    if len(text) > MAX_MESSAGE:
        raise ChannelError(f"a message of {len(text)} bytes is over the limit of {MAX_MESSAGE}")
    return len(text).to_bytes(4, "big") + text


class Channel:
    """One end of the pair, for a blocking socket or one in a `selectors` loop.

    On a non-blocking socket `send` keeps what does not fit: while `pending` is true, wait for writing and call `flush`.
    """

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self._incoming = bytearray()
        self._outgoing = bytearray()
        self._ready: list[Message] = []  # read by `receive`, not yet handed out

    def fileno(self) -> int:
        """The descriptor, so that a selector takes the channel itself."""
        return self.sock.fileno()

    @property
    def pending(self) -> bool:
        """Whether something still waits to be written."""
        return bool(self._outgoing)

    def send(self, message: Message) -> None:
        """Send, or keep what the socket won't take now. ChannelError when the other end is gone or never reads."""
        data = encode(message)
        if len(self._outgoing) + len(data) > MAX_PENDING:
            raise ChannelError("the other end of the channel does not read")
        self._outgoing += data
        self.flush()

    def flush(self) -> bool:
        """Write what waits; True when nothing is left."""
        while self._outgoing:
            with memoryview(self._outgoing) as view:
                try:
                    sent = self.sock.send(view[:CHUNK])
                except BlockingIOError:
                    return False
                except ConnectionError as error:
                    raise ChannelError("the other end of the channel is gone") from error
            del self._outgoing[:sent]
        return True

    def feed(self, data: bytes) -> list[Message]:
        """Take bytes as they came, however they were split; answer the messages that they complete."""
        self._incoming += data
        messages: list[Message] = []
        start = 0
        while len(self._incoming) >= start + 4:
            length = int.from_bytes(self._incoming[start : start + 4], "big")
            if length > MAX_MESSAGE:
                raise ChannelError(f"a message of {length} bytes is over the limit of {MAX_MESSAGE}")
            end = start + 4 + length
            if len(self._incoming) < end:
                break
            messages.append(_decode(bytes(self._incoming[start + 4 : end])))
            start = end
        del self._incoming[:start]
        return messages

    def read(self) -> list[Message] | None:
        """One read from the socket: the messages it completed (maybe none), or None when the other end has closed.

        TimeoutError when the socket has a timeout and it passes.
        """
        try:
            data = self.sock.recv(CHUNK)
        except BlockingIOError:
            return []
        except ConnectionError:
            return None
        return self.feed(data) if data else None

    def receive(self) -> Message | None:
        """The next message, for a blocking socket; None when the other end has closed."""
        while not self._ready:
            messages = self.read()
            if messages is None:
                return None
            self._ready = messages
        return self._ready.pop(0)

    def close(self) -> None:
        """Close this end."""
        self.sock.close()


def _decode(text: bytes) -> Message:
    try:
        message = json.loads(text)
    except ValueError as error:
        raise ChannelError("a message on the channel is not JSON") from error
    if not isinstance(message, dict):
        raise ChannelError("a message on the channel is not an object")
    return message


class AsyncChannel:
    """The child's end, in its event loop. One task receives; anyone sends, at once and in order.

    What is sent when the supervisor is gone is dropped: `receive` answers None then, and the child exits.
    """

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(False)
        self._channel = Channel(sock)
        self._inbox: list[Message] = []
        self._closed = False

    async def receive(self) -> Message | None:
        """The next message; None when the other end has closed."""
        while not self._inbox:
            if self._closed:
                return None
            await self._readable()
            messages = self._channel.read()
            if messages is None:
                self._closed = True
            else:
                self._inbox = messages
        return self._inbox.pop(0)

    async def _readable(self) -> None:
        loop = asyncio.get_running_loop()
        waiter: asyncio.Future[None] = loop.create_future()
        loop.add_reader(self._channel.fileno(), _wake, waiter)
        try:
            await waiter
        finally:
            if self._channel.fileno() >= 0:  # closed meanwhile: `close` has removed it
                loop.remove_reader(self._channel.fileno())

    def send(self, message: Message) -> None:
        """Send, without waiting; what the socket won't take now follows by itself."""
        if self._closed:
            return
        waiting = self._channel.pending
        try:
            self._channel.send(message)
        except ChannelError:
            self._closed = True
            return
        if self._channel.pending and not waiting:
            asyncio.get_running_loop().add_writer(self._channel.fileno(), self._flush)

    def _flush(self) -> None:
        try:
            done = self._channel.flush()
        except ChannelError:
            self._closed = done = True
        if done:
            asyncio.get_running_loop().remove_writer(self._channel.fileno())

    def close(self) -> None:
        """Close this end; a waiting `receive` is not woken (cancel its task)."""
        fd = self._channel.fileno()
        if fd >= 0:
            loop = asyncio.get_running_loop()
            loop.remove_reader(fd)
            loop.remove_writer(fd)
            self._channel.close()
        self._closed = True


def _wake(waiter: asyncio.Future[None]) -> None:
    if not waiter.done():
        waiter.set_result(None)
