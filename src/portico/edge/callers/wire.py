"""The edge's small HTTP/1.1 client for the services' private socket.

It reads what our own server writes: an exact length, or chunks. Connections are kept for the next question; each
carries one at a time.
"""

from __future__ import annotations

import asyncio
import hmac
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import Final

from portico.errors import ServicesAway

GREETING: Final = b"portico internal 1"
HEAD: Final = 16 * 1024  # bytes of a response head
BUFFER: Final = 256 * 1024  # bytes read ahead of who reads
LARGEST: Final = 256 * 1024 * 1024  # bytes of an answer, of a line of the changes
KEPT: Final = 16  # idle connections
PAST: Final = (OSError, EOFError, ValueError, asyncio.LimitOverrunError)  # what a broken peer leads to


class Answer:
    """The head of an answer, and the connection that its body comes from."""

    def __init__(self, status: int, length: int, reader: asyncio.StreamReader) -> None:
        self.status = status
        self.length = length  # -1: in chunks
        self.reader = reader

    async def body(self) -> bytes:
        """The whole body."""
        if self.length >= 0:
            return await self.reader.readexactly(self.length)
        return b"".join([piece async for piece in self.pieces()])

    async def pieces(self) -> AsyncIterator[bytes]:
        """The chunks of the body as they come (RFC 9112 7.1)."""
        total = 0
        while size := int((await self.reader.readuntil(b"\r\n")).split(b";")[0], 16):
            total += size
            if size > LARGEST or (self.length >= 0 and total > LARGEST):
                raise ValueError("an answer of the services is too large")
            yield (await self.reader.readexactly(size + 2))[:-2]
        while await self.reader.readuntil(b"\r\n") != b"\r\n":
            pass

    async def lines(self) -> AsyncIterator[bytes]:
        """The lines of a body that may never end."""
        rest: list[bytes] = []
        held = 0
        async for piece in self.pieces():
            first, *more = piece.split(b"\n")
            rest.append(first)
            held += len(first)
            if held > LARGEST:
                raise ValueError("a line of the changes is too long")
            for each in more:
                yield b"".join(rest)
                rest, held = [each], len(each)


class Wire:
    """Questions to the services over the Unix socket at `path`; `key` is the internal key of the boot message."""

    def __init__(self, path: str, key: bytes) -> None:
        self.path = path
        self.proof = hmac.digest(key, GREETING, "sha256").hex().encode()
        self.idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []
        self.era = 0  # connections of an older one are not used again

    async def ask(self, method: bytes, target: bytes, body: bytes = b"") -> tuple[int, bytes]:
        """Status and body of the answer; ServicesAway when there is none. How long it may take is the caller's."""
        while self.idle:
            kept = self.idle.pop()
            if not kept[0].at_eof() and not kept[1].is_closing():
                with suppress(*PAST):  # it may have been closed this moment; then a new one is tried
                    return await self._on(kept, method, target, body)
        try:
            return await self._on(await self._connect(), method, target, body)
        except PAST as error:
            raise ServicesAway(f"the services can't be asked: {type(error).__name__}") from None

    async def open(self, target: bytes) -> tuple[Answer, asyncio.StreamWriter]:
        """GET an answer that is read piece by piece, on a connection of its own, which the caller closes."""
        try:
            reader, writer = await self._connect()
        except PAST as error:
            raise ServicesAway(f"the services can't be asked: {type(error).__name__}") from None
        try:
            return await self._exchange(reader, writer, b"GET", target, b""), writer
        except PAST as error:
            writer.transport.abort()
            raise ServicesAway(f"the services gave no proper answer: {type(error).__name__}") from None
        except BaseException:
            writer.transport.abort()
            raise

    def renew(self) -> None:
        """Use none of the connections any more."""
        self.era += 1
        while self.idle:
            self.idle.pop()[1].close()

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_unix_connection(self.path, limit=BUFFER)

    async def _on(
        self, connection: tuple[asyncio.StreamReader, asyncio.StreamWriter], method: bytes, target: bytes, body: bytes
    ) -> tuple[int, bytes]:
        reader, writer = connection
        era = self.era
        try:
            answer = await self._exchange(reader, writer, method, target, body)
            told = await answer.body()
        except BaseException:  # also when nobody waits for it any longer: what comes must not answer another question
            writer.transport.abort()
            raise
        if era == self.era and len(self.idle) < KEPT:
            self.idle.append(connection)
        else:
            writer.close()
        return answer.status, told

    async def _exchange(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        method: bytes,
        target: bytes,
        body: bytes,
    ) -> Answer:
        lines = [method + b" " + target + b" HTTP/1.1", b"Host: services", b"X-Portico-Internal: " + self.proof]
        if method == b"POST":
            lines += [b"Content-Type: application/json", b"Content-Length: %d" % len(body)]
        writer.write(b"\r\n".join(lines) + b"\r\n\r\n" + body)
        await writer.drain()
        return read_head(await reader.readuntil(b"\r\n\r\n"), reader)


def read_head(head: bytes, reader: asyncio.StreamReader) -> Answer:
    """The answer that `head` begins; ValueError when its body's length is not told."""
    if len(head) > HEAD:
        raise ValueError("the head is too long")
    first, *lines = head.split(b"\r\n")
    version, status, *_ = first.split(b" ")
    fields = {name.lower(): value.strip() for name, _, value in (line.partition(b":") for line in lines)}
    number = int(status)
    if version != b"HTTP/1.1" or not 200 <= number <= 599 or fields.get(b"connection", b"").lower() == b"upgrade":
        raise ValueError("this is no final answer")
    if fields.get(b"transfer-encoding", b"").lower() == b"chunked":
        return Answer(number, -1, reader)
    if number == 204:
        return Answer(number, 0, reader)
    length = int(fields[b"content-length"]) if b"content-length" in fields else -2
    if not 0 <= length <= LARGEST:
        raise ValueError("the length of the body is not told")
    return Answer(number, length, reader)
