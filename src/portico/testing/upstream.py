"""A real upstream for tests: blocking sockets, a thread a connection, and a record of all that arrived."""

from __future__ import annotations

import json
import select
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Final, Self

PARTING: Final = 2.0  # seconds for a client whose TLS was refused to go


@dataclass(frozen=True, slots=True)
class Request:
    """One request as it came off the wire; `raw_head` ends with its empty line, `headers` keep order and case."""

    raw_head: bytes
    method: str
    target: str
    version: str
    headers: list[tuple[str, str]]
    body: bytes
    connection: int

    def header(self, name: str) -> str | None:
        """The first field called `name` (any case), or None."""
        return next((value for key, value in self.headers if key.lower() == name.lower()), None)

    def all(self, name: str) -> list[str]:
        """Every field called `name` (any case)."""
        return [value for key, value in self.headers if key.lower() == name.lower()]


Handler = Callable[[Request, "Connection"], bytes | None]


class Connection:
    """One accepted connection: `sock` is the handler's to write to; `closed` is set when it has ended."""

    def __init__(self, sock: socket.socket, index: int) -> None:
        self.sock = sock
        self.index = index
        self.closed = threading.Event()
        self.buffer = b""

    def send(self, data: bytes) -> None:
        self.sock.sendall(data)

    def receive(self, timeout: float = 5.0) -> bytes:
        """What has come beyond the request, waiting up to `timeout` seconds; empty at the end of the stream."""
        if self.buffer:
            data, self.buffer = self.buffer, b""
            return data
        if not select.select([self.sock], [], [], timeout)[0]:
            raise TimeoutError("nothing arrived")
        return self.sock.recv(65536)

    def gone(self, timeout: float = 5.0) -> bool:
        """Whether the peer closes or resets the connection within `timeout` seconds."""
        poller = select.poll()
        poller.register(self.sock, select.POLLRDHUP | select.POLLHUP | select.POLLERR)
        return bool(poller.poll(timeout * 1000))

    def close(self) -> None:
        """End the connection in good order."""
        try:
            self.sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            return  # it had already ended; the serving thread releases the descriptor

    def reset(self) -> None:
        """End the connection with a TCP reset."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
        self.sock.close()

    def _fill(self) -> bool:
        data = self.sock.recv(65536)
        self.buffer += data
        return bool(data)

    def _until(self, mark: bytes) -> bytes | None:
        while mark not in self.buffer:
            if not self._fill():
                return None
        found, _, self.buffer = self.buffer.partition(mark)
        return found + mark

    def _exactly(self, size: int) -> bytes | None:
        while len(self.buffer) < size:
            if not self._fill():
                return None
        found, self.buffer = self.buffer[:size], self.buffer[size:]
        return found

    def _chunked(self) -> bytes | None:
        body = b""
        while True:
            line = self._until(b"\r\n")
            if line is None:
                return None
            size = int(line.split(b";")[0], 16)
            if size == 0:
                break
            piece = self._exactly(size + 2)
            if piece is None:
                return None
            body += piece[:-2]
        while (line := self._until(b"\r\n")) != b"\r\n":
            if line is None:
                return None
        return body

    def read_request(self, expect: Callable[[Request, Connection], None] | None = None) -> Request | None:
        """The next request, or None when the peer has gone; `expect` is asked before a body it must call for."""
        raw = self._until(b"\r\n\r\n")
        if raw is None:
            return None
        lines = raw[:-4].decode("latin-1").split("\r\n")
        method, target, version = lines[0].split(" ")
        headers = [(name, value.strip()) for name, _, value in (line.partition(":") for line in lines[1:])]
        head = Request(raw, method, target, version, headers, b"", self.index)
        if expect is not None and head.header("Expect"):
            expect(head, self)
        body: bytes | None = b""
        if "chunked" in (head.header("Transfer-Encoding") or "").lower():
            body = self._chunked()
        elif length := head.header("Content-Length"):
            body = self._exactly(int(length))
        return None if body is None else Request(raw, method, target, version, headers, body, self.index)


def response(
    status: int = 200,
    body: bytes = b"",
    headers: Iterable[tuple[str, str]] = (),
    reason: str = "OK",
    *,
    length: bool = True,
) -> bytes:
    """A raw HTTP/1.1 response; `length` False leaves the framing to `headers`."""
    lines = [f"HTTP/1.1 {status} {reason}", *(f"{name}: {value}" for name, value in headers)]
    if length:
        lines.append(f"Content-Length: {len(body)}")
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body


def echo(request: Request, _: Connection) -> bytes:
    """The default handler: 200 with JSON of what it got."""
    told = {
        "method": request.method,
        "target": request.target,
        "path": request.target.partition("?")[0],
        "query": request.target.partition("?")[2],
        "headers": request.headers,
        "body": request.body.decode("latin-1"),
        "connection": request.connection,
    }
    raw = response(200, json.dumps(told).encode(), [("Content-Type", "application/json")])
    return raw[: raw.index(b"\r\n\r\n") + 4] if request.method == "HEAD" else raw


class FakeUpstream:
    """A listening upstream on 127.0.0.1 (or the Unix socket `unix`), serving inside a `with` block.

    `handler(request, connection)` returns a raw response, or None when it has written to `connection.sock` itself
    (streams, truncations, garbage); the connection then stays open unless the handler has closed it. A request with
    `Expect` gets `100 Continue` before its body is read unless `expect` is given, which decides then. `tls`: it speaks
    HTTPS with this context; what the handler closes ends without close_notify unless it unwraps the socket before.
    """

    def __init__(
        self,
        handler: Handler | None = None,
        *,
        unix: str | None = None,
        expect: Callable[[Request, Connection], None] | None = None,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.handler = handler or echo
        self.unix = unix
        self.tls = tls
        self.expect = expect or _continue
        self.requests: list[Request] = []
        self.accepted: list[Connection] = []
        self.errors: list[BaseException] = []
        self.port = 0
        self._listener: socket.socket | None = None
        self._threads: list[threading.Thread] = []

    @property
    def url(self) -> str:
        scheme = "http" if self.tls is None else "https"
        return f"unix:{self.unix}" if self.unix else f"{scheme}://127.0.0.1:{self.port}"

    @property
    def connections(self) -> int:
        """How many connections were opened so far."""
        return len(self.accepted)

    @property
    def open_connections(self) -> int:
        return sum(not connection.closed.is_set() for connection in self.accepted)

    @property
    def closed(self) -> Sequence[int]:
        """The indexes of the connections that have ended."""
        return [connection.index for connection in self.accepted if connection.closed.is_set()]

    def wait_for(self, condition: Callable[[], bool], timeout: float = 5.0) -> None:
        """Return as soon as `condition()` holds; TimeoutError after `timeout` seconds."""
        wait_for(condition, timeout)

    def __enter__(self) -> Self:
        family = socket.AF_UNIX if self.unix else socket.AF_INET
        self._listener = socket.socket(family, socket.SOCK_STREAM)
        if self.unix:
            self._listener.bind(self.unix)
        else:
            self._listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self._listener.bind(("127.0.0.1", self.port))  # the same port again when it is entered again
            self.port = self._listener.getsockname()[1]
        self._listener.listen(1024)
        self._start(self._accept, self._listener)
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.stop()

    def stop(self) -> None:
        """Stop listening and end every connection."""
        if self._listener is not None:
            self._listener.shutdown(socket.SHUT_RDWR)
            self._listener.close()
            self._listener = None
        for connection in self.accepted:
            connection.close()
        for thread in self._threads:
            thread.join(5.0)
        self._threads.clear()

    def _start(self, function: Callable[..., None], *args: object) -> None:
        thread = threading.Thread(target=function, args=args, daemon=True)
        self._threads.append(thread)
        thread.start()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                sock, _ = listener.accept()
            except OSError:
                return  # stopped
            if sock.family == socket.AF_INET:
                sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            connection = Connection(sock, len(self.accepted))
            self.accepted.append(connection)
            self._start(self._serve, connection)

    def _serve(self, connection: Connection) -> None:
        try:
            if self.tls is not None:
                _secure(connection, self.tls)
            while (request := connection.read_request(self.expect)) is not None:
                self.requests.append(request)
                answer = self.handler(request, connection)
                if answer is not None:
                    connection.send(answer)
        except OSError:
            return  # the peer, or the handler, has ended the connection
        except (ValueError, AssertionError) as error:
            self.errors.append(error)  # what came was no HTTP, or the handler's own check failed: the test looks here
        finally:
            connection.closed.set()
            connection.sock.close()


def _secure(connection: Connection, context: ssl.SSLContext) -> None:
    sock = context.wrap_socket(connection.sock, server_side=True, do_handshake_on_connect=False)
    connection.sock = sock
    try:
        sock.do_handshake()
    except ssl.SSLError:
        # What the client has sent meanwhile makes a reset of a plain close, and that may overtake the alert.
        connection.sock = socket.socket(fileno=sock.detach())
        connection.sock.shutdown(socket.SHUT_WR)
        connection.sock.settimeout(PARTING)
        while connection.sock.recv(65536):
            pass
        raise


def wait_for(condition: Callable[[], bool], timeout: float = 5.0) -> None:
    """Return as soon as `condition()` holds; TimeoutError after `timeout` seconds."""
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            raise TimeoutError("the condition did not come true")
        time.sleep(0.005)


def _continue(_: Request, connection: Connection) -> None:
    connection.send(b"HTTP/1.1 100 Continue\r\n\r\n")
