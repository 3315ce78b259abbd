"""A receiver of webhooks for tests: an HTTP server in a thread that answers as it is told, and keeps what it got."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any, Final

from standardwebhooks import Webhook

OK: Final = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
SILENCE: Final = b""  # never an answer


@dataclass(frozen=True)
class Got:
    """One request as it came."""

    at: float
    headers: dict[str, str]
    body: bytes

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]

    def verified(self, secret: str) -> Any:
        """Its JSON, after the library of Standard Webhooks has found the signature right."""
        return Webhook(secret).verify(self.body, self.headers)


Answer = bytes | Callable[[Got, socket.socket], bytes | None]


@dataclass
class Receiver:
    """`answer` is what each request gets; a function may write by itself, or answer None and keep the connection."""

    answer: Answer = OK
    got: list[Got] = field(default_factory=list)
    open: int = 0
    most: int = 0  # requests at the same time
    _now: int = 0
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _socket: socket.socket = field(default_factory=socket.socket)

    @property
    def port(self) -> int:
        return int(self._socket.getsockname()[1])

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook"

    def serve(self) -> None:
        while True:
            try:
                sock, _ = self._socket.accept()
            except OSError:
                return
            threading.Thread(target=self._client, args=(sock,), daemon=True).start()

    def _client(self, sock: socket.socket) -> None:
        self.open += 1
        with sock, contextlib.suppress(OSError):
            stream = sock.makefile("rb")
            while (got := _read(stream)) is not None:
                with self._lock:
                    self.got.append(got)
                    self._now += 1
                    self.most = max(self.most, self._now)
                try:
                    answer = self.answer(got, sock) if callable(self.answer) else self.answer
                    if answer == SILENCE:
                        sock.recv(1)  # until the other side gives up
                        break
                    sock.sendall(answer or b"")
                finally:
                    with self._lock:
                        self._now -= 1
        self.open -= 1

    def wait(self, count: int, seconds: float = 15.0) -> list[Got]:
        """What came, once there are `count`."""
        deadline = time.monotonic() + seconds
        while len(self.got) < count:
            assert time.monotonic() < deadline, f"{len(self.got)} of {count} came"
            time.sleep(0.01)
        return list(self.got)


def _read(stream: Any) -> Got | None:
    line = stream.readline()
    if not line:
        return None
    headers: dict[str, str] = {}
    while (field_line := stream.readline().strip()) != b"":
        name, _, value = field_line.decode("latin-1").partition(":")
        headers[name.lower()] = value.strip()
    body = stream.read(int(headers.get("content-length", "0")))
    return Got(time.monotonic(), headers, body)


def status(code: int, *fields: str, body: bytes = b"") -> bytes:
    """A whole answer."""
    head = [f"HTTP/1.1 {code} X", f"Content-Length: {len(body)}", *fields]
    return "\r\n".join(head).encode() + b"\r\n\r\n" + body


def drip(got: Got, sock: socket.socket) -> None:
    """An answer of one byte a second."""
    for byte in OK * 10:
        sock.sendall(bytes([byte]))
        time.sleep(1)


@contextlib.contextmanager
def receiving(answer: Answer = OK) -> Iterator[Receiver]:
    """A receiver on 127.0.0.1."""
    made = Receiver(answer)
    made._socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    made._socket.bind(("127.0.0.1", 0))
    made._socket.listen(512)
    threading.Thread(target=made.serve, daemon=True).start()
    try:
        yield made
    finally:
        with contextlib.suppress(OSError):
            made._socket.shutdown(socket.SHUT_RDWR)
        made._socket.close()
