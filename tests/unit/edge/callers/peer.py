"""A services side for the tests of the edge's callers: a small HTTP server on a Unix socket, told what to know."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import hmac
import json
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from portico.identity.apikeys import generate

INTERNAL = bytes(range(32))
BEAT = 0.05


def wanted(condition: Callable[[], object], within: float = 5.0) -> Any:
    """Wait until something is so."""

    async def wait() -> None:
        deadline = time.monotonic() + within
        while not condition():
            assert time.monotonic() < deadline, "it did not come about in time"
            await asyncio.sleep(0.005)

    return wait()


class Peer:
    """`keys`: SHA-256 → record. What is asked is counted in `asked`; `mute` answers nothing, `beating` sends beats."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.keys: dict[bytes, dict[str, Any]] = {}
        self.issuers: list[dict[str, Any]] = []
        self.revoked: dict[str, dict[str, float]] = {"sessions": {}, "subjects": {}}
        self.asked: list[tuple[str, Any]] = []
        self.mute = False
        self.beating = True
        self.status = 200
        self.chunked = False
        self.slow: asyncio.Event | None = None  # answers about keys wait for it
        self.streams: set[asyncio.StreamWriter] = set()
        self.connections: set[asyncio.StreamWriter] = set()
        self.server: asyncio.Server | None = None
        self.proof = hmac.digest(INTERNAL, b"portico internal 1", "sha256").hex()

    async def start(self) -> None:
        self.path.unlink(missing_ok=True)
        self.server = await asyncio.start_unix_server(self._serve, str(self.path))

    async def stop(self) -> None:
        """As if it was killed."""
        assert self.server is not None
        self.server.close()
        self.path.unlink(missing_ok=True)
        for writer in list(self.connections):
            writer.transport.abort()
        self.connections.clear()
        self.streams.clear()

    # -- what the services know

    def issue(self, key: str = "", **more: Any) -> str:
        """A key, made and told."""
        key = key or generate()
        record = {
            "id": f"id-{len(self.keys)}", "name": "n", "tenant": "acme", "permissions": ["users:read"],
            "networks": [], "expires": None, "per_minute": 0, "per_day": 0, "window": "", "rate": "", "burst": 0,
            "quota": "", **more,
        }  # fmt: skip
        self.keys[digest(key)] = record
        self.tell_key(key, "added")
        return key

    def revoke(self, key: str) -> None:
        """Nobody's from now on; told."""
        del self.keys[digest(key)]
        self.tell_key(key, "gone")

    def tell_key(self, key: str, op: str) -> None:
        sha = digest(key).hex()
        self.tell({"type": "key", "id": "x", "prefix": sha[:16], "sha256": sha, "op": op})

    def tell(self, *lines: dict[str, Any]) -> None:
        for writer in self.streams:
            self._lines(writer, *lines)

    def questions(self, path: str = "/_portico/keys") -> int:
        return len([each for each in self.asked if each[0] == path])

    # -- how they say it

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections.add(writer)
        with contextlib.suppress(OSError, EOFError, asyncio.CancelledError):
            while True:
                await self._answer(reader, writer)
        writer.close()

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        head = (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
        fields = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in head[1:] if line)}
        assert fields["x-portico-internal"] == self.proof
        path = head[0].split(" ")[1]
        body = await reader.readexactly(int(fields.get("content-length", "0")))
        self.asked.append((path, json.loads(body) if body else None))
        while self.mute:
            await asyncio.sleep(0.01)
        if path == "/_portico/changes":
            await self._stream(writer)
        elif path == "/_portico/keys/prefixes":
            self._send(writer, self.status, b"".join(sorted(sha[:8] for sha in self.keys)))
        elif path == "/_portico/keys":
            record = self.keys.get(bytes.fromhex(self.asked[-1][1]["sha256"]))
            if self.slow is not None:
                await self.slow.wait()
            self._send(writer, self.status, json.dumps({"key": record}).encode())
        else:
            self._send(writer, 204, b"")

    def _send(self, writer: asyncio.StreamWriter, status: int, body: bytes) -> None:
        head = f"HTTP/1.1 {status} X\r\ndate: now\r\n"
        if self.chunked:
            half = len(body) // 2
            pieces = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in (body[:half], body[half:]) if part)
            writer.write(head.encode() + b"transfer-encoding: chunked\r\n\r\n" + pieces + b"0\r\n\r\n")
        elif status == 204:
            writer.write(head.encode() + b"\r\n")
        else:
            writer.write(head.encode() + f"content-length: {len(body)}\r\n\r\n".encode() + body)

    async def _stream(self, writer: asyncio.StreamWriter) -> None:
        if self.status != 200:
            self._send(writer, self.status, b"")
            return
        writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n")
        self._lines(writer, {"type": "hello", "clock": time.monotonic()}, {"type": "issuers", "issuers": self.issuers})
        self._lines(writer, {"type": "revoked", **self.revoked}, {"type": "synced"})
        self.streams.add(writer)
        try:
            while not writer.is_closing():
                if self.beating and not self.mute:
                    self._lines(writer, {"type": "beat", "clock": time.monotonic()})
                await asyncio.sleep(BEAT)
        finally:
            self.streams.discard(writer)

    def _lines(self, writer: asyncio.StreamWriter, *lines: dict[str, Any]) -> None:
        data = b"".join(json.dumps(line).encode() + b"\n" for line in lines)
        half = len(data) // 2  # a line may come in two chunks
        for part in (data[:half], data[half:]):
            writer.write(b"%x\r\n%b\r\n" % (len(part), part))


def digest(key: str) -> bytes:
    return hashlib.sha256(key.encode()).digest()


@contextlib.contextmanager
def folder() -> Iterator[Path]:
    """Short enough for a Unix socket's path."""
    with tempfile.TemporaryDirectory(prefix="pp-", dir="/tmp") as made:
        yield Path(made)
