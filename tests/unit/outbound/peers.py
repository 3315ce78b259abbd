"""Servers for the tests of outbound calls: sockets that do exactly what they are told, and a name server."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any

from portico.outbound import Bounds, Client, Guard

Handler = Callable[[bytes, asyncio.StreamWriter], Awaitable[None]]


class Peer:
    """An HTTP server on 127.0.0.1 (and ::1) that answers each request head by `handler`, and keeps what it saw."""

    def __init__(self, handler: Handler) -> None:
        self.handler = handler
        self.heads: list[bytes] = []
        self.connections = 0
        self.open = 0
        self.port = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        self.open += 1
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                self.heads.append(head)
                await self.handler(head, writer)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            self.open -= 1
            writer.close()


def answers(data: bytes) -> Handler:
    """Always the same bytes."""

    async def handler(head: bytes, writer: asyncio.StreamWriter) -> None:
        writer.write(data)

    return handler


def plain(body: bytes, status: str = "200 OK", *fields: str) -> bytes:
    """A whole answer."""
    lines = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *fields]
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body


@asynccontextmanager
async def peer(handler: Handler | bytes, ssl: Any = None) -> AsyncIterator[Peer]:
    """A peer on 127.0.0.1, and on ::1 with the same port where there is IPv6."""
    made = Peer(answers(handler) if isinstance(handler, bytes) else handler)
    server = await asyncio.start_server(made.serve, "127.0.0.1", 0, ssl=ssl, limit=1 << 20)
    made.port = server.sockets[0].getsockname()[1]
    servers = [server]
    with suppress(OSError):  # no IPv6 here
        servers.append(await asyncio.start_server(made.serve, "::1", made.port, ssl=ssl))
    try:
        yield made
    finally:
        for each in servers:
            each.close()


@asynccontextmanager
async def started(guard: Guard | None = None, bounds: Bounds | None = None, **options: Any) -> AsyncIterator[Client]:
    """A started client."""
    client = Client(guard, bounds, **options)
    await client.start()
    try:
        yield client
    finally:
        await client.stop()


OPERATOR = Guard(allow_private=True)


class NameServer:
    """A DNS server on a UDP port that answers each question for an address with the next of `addresses`."""

    def __init__(self, *addresses: str) -> None:
        self.addresses = addresses
        self.asked = 0
        self.sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.sock.bind(("127.0.0.1", 0))
        self.sock.setblocking(False)

    def __enter__(self) -> NameServer:
        asyncio.get_running_loop().add_reader(self.sock, self._answer)
        return self

    def __exit__(self, *_: object) -> None:
        asyncio.get_running_loop().remove_reader(self.sock)
        self.sock.close()

    def _answer(self) -> None:
        from dnslib import AAAA, QTYPE, RR, A, DNSRecord

        data, client = self.sock.recvfrom(4096)
        question = DNSRecord.parse(data)
        reply = question.reply()
        kind = QTYPE[question.q.qtype]
        address = self.addresses[min(self.asked, len(self.addresses) - 1)]
        if kind == ("AAAA" if ":" in address else "A"):
            self.asked += 1
            record = AAAA(address) if kind == "AAAA" else A(address)
            reply.add_answer(RR(question.q.qname, question.q.qtype, rdata=record, ttl=0))
        self.sock.sendto(reply.pack(), client)

    async def lookup(self, host: str, port: int) -> list[str]:
        """Ask it as a resolver would: over the wire, each time anew."""
        from dnslib import DNSRecord

        loop = asyncio.get_running_loop()
        found: list[str] = []
        for kind in ("A", "AAAA"):
            with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
                sock.setblocking(False)
                await loop.sock_connect(sock, self.sock.getsockname())
                await loop.sock_sendall(sock, DNSRecord.question(host, kind).pack())
                answer = DNSRecord.parse(await asyncio.wait_for(loop.sock_recv(sock, 4096), 5))
            found.extend(str(record.rdata) for record in answer.rr)
        return found
