"""A small raw HTTP/1.1 client for tests: sends what it is told, and reads strictly what comes back."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

Headers = Mapping[str, str] | Iterable[tuple[str, str]]


@dataclass(frozen=True, slots=True)
class Answer:
    """One response; `headers` keep order and case, `interim` holds the statuses of the 1xx before it."""

    status: int
    reason: str
    headers: list[tuple[str, str]]
    body: bytes
    interim: list[int] = field(default_factory=list)

    def header(self, name: str) -> str | None:
        """The first field called `name` (any case), or None."""
        return next((value for key, value in self.headers if key.lower() == name.lower()), None)

    def all(self, name: str) -> list[str]:
        """Every field called `name` (any case)."""
        return [value for key, value in self.headers if key.lower() == name.lower()]

    def json(self) -> Any:
        return json.loads(self.body)


class IncompleteAnswer(ConnectionError):
    """The connection ended before the response was complete; `received` is all that came."""

    def __init__(self, received: bytes) -> None:
        super().__init__(f"the connection ended after {len(received)} bytes of an incomplete response")
        self.received = received


class Reader:
    """Reads responses off one connection, one after the other; `timeout` seconds bound each wait."""

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.buffer = b""

    def answer(self, method: str = "GET") -> Answer:
        """The next final response to a `method` request."""
        interim: list[int] = []
        while True:
            status, reason, headers = self._head()
            if status == 101 or status >= 200:
                break
            interim.append(status)
        return Answer(status, reason, headers, self._body(method, status, headers), interim)

    def _head(self) -> tuple[int, str, list[tuple[str, str]]]:
        lines = self._until(b"\r\n\r\n")[:-4].decode("latin-1").split("\r\n")
        _, status, reason = (lines[0] + " ").split(" ", 2)
        pairs = [line.partition(":") for line in lines[1:]]
        return int(status), reason.strip(), [(name, value.strip()) for name, _, value in pairs]

    def _body(self, method: str, status: int, headers: list[tuple[str, str]]) -> bytes:
        fields = {name.lower(): value for name, value in headers}
        if method == "HEAD" or status in (101, 204, 304):
            return b""
        if fields.get("transfer-encoding", "").lower() == "chunked":
            return self._chunked()
        if "content-length" in fields:
            return self._exactly(int(fields["content-length"]))
        while self._fill():
            pass
        body, self.buffer = self.buffer, b""
        return body

    def _chunked(self) -> bytes:
        body = b""
        while size := int(self._until(b"\r\n").split(b";")[0], 16):
            body += self._exactly(size + 2)[:-2]
        while self._until(b"\r\n") != b"\r\n":
            pass
        return body

    def _fill(self) -> bool:
        data = self.sock.recv(65536)
        self.buffer += data
        return bool(data)

    def _until(self, mark: bytes) -> bytes:
        while mark not in self.buffer:
            if not self._fill():
                raise IncompleteAnswer(self.buffer)
        found, _, self.buffer = self.buffer.partition(mark)
        return found + mark

    def _exactly(self, size: int) -> bytes:
        while len(self.buffer) < size:
            if not self._fill():
                raise IncompleteAnswer(self.buffer)
        found, self.buffer = self.buffer[:size], self.buffer[size:]
        return found


def request_bytes(
    method: str, path: str, host: str, headers: Headers | None = None, body: bytes | None = None
) -> bytes:
    """A request as bytes; Host, Content-Length and `Connection: close` are added unless `headers` has them."""
    pairs = list(headers.items()) if isinstance(headers, Mapping) else list(headers or ())
    names = {name.lower() for name, _ in pairs}
    lines = [f"{method} {path} HTTP/1.1"]
    if "host" not in names:
        lines.append(f"Host: {host}")
    if body is not None and not names & {"content-length", "transfer-encoding"}:
        lines.append(f"Content-Length: {len(body)}")
    if "connection" not in names:
        lines.append("Connection: close")
    lines += [f"{name}: {value}" for name, value in pairs]
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + (body or b"")


def read_all(sock: socket.socket, timeout: float) -> bytes:
    """Everything that comes until the peer closes, or until nothing more has come for `timeout` seconds."""
    received = b""
    deadline = time.monotonic() + timeout
    while (left := deadline - time.monotonic()) > 0:
        sock.settimeout(left)
        try:
            data = sock.recv(65536)
        except (TimeoutError, ConnectionResetError):
            break
        if not data:
            break
        received += data
        deadline = time.monotonic() + timeout
    return received
