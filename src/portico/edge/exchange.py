"""One request in flight, and the two sides that meet in it.

A client connection (`Downstream`) makes an `Exchange`; the route's phases look at it and may answer it; otherwise a
`Target` (an upstream connection, or one of the edge's own answers) takes it. The six verbs: take the head, take a body
chunk, pause/resume, respond, abort, done.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any, Final

from portico.edge.http1.fields import FieldReader
from portico.edge.http1.head import RequestHead
from portico.identity.certificates import Certificate
from portico.identity.principal import Principal

if TYPE_CHECKING:
    from portico.edge.edit import Edit
    from portico.edge.guard.guarded import Guarded
    from portico.edge.plan import CompiledRoute
    from portico.edge.tap import Tap
    from portico.edge.tracing.trace import Trace

UNKNOWN_LENGTH: Final = -1  # a body whose length is not known beforehand: chunked towards HTTP/1.1
NO_BODY: Final = -3
PROBLEM: Final = (
    b"\r\nContent-Type: application/problem+json\r\nCache-Control: no-store\r\nX-Content-Type-Options: nosniff"
)

NUMBERS: Final = [b"%d" % number for number in range(1000)]


def decimal(number: int) -> bytes:
    """The digits of a number; most are small."""
    return NUMBERS[number] if 0 <= number < 1000 else str(number).encode()


class Response:
    """An answer that the edge itself gives. `fields` are raw lines, each `CRLF Name: value`."""

    def __init__(
        self, status: int, body: bytes = b"", fields: bytes = b"", code: str = "", close: bool = False
    ) -> None:
        self.status = status
        self.body = body
        self.fields = fields
        self.code = code
        self.close = close


class Downstream:
    """The client's side of an exchange, as a target sees it."""

    def respond(self, exchange: Exchange, status: int, reason: bytes, fields: bytes, length: int) -> None:
        """Send the response head; `length` is exact, UNKNOWN_LENGTH or NO_BODY."""
        raise NotImplementedError

    def upgrade(self, exchange: Exchange, reason: bytes, fields: bytes) -> None:
        """The upstream switched protocols: send the 101 head; from now on bytes pass both ways as they come."""
        raise NotImplementedError

    def flush(self, exchange: Exchange) -> None:
        """Nothing follows for now: write what was held back to be sent in one piece."""
        raise NotImplementedError

    def inform(self, exchange: Exchange, status: int, reason: bytes, fields: bytes) -> None:
        """Pass on an interim (1xx) response."""
        raise NotImplementedError

    def send(self, exchange: Exchange, chunk: bytes) -> None:
        """Send a piece of the response body."""
        raise NotImplementedError

    def done(self, exchange: Exchange) -> None:
        """The response is complete."""
        raise NotImplementedError

    def abort(self, exchange: Exchange) -> None:
        """The response can't be completed: end the connection so that the client notices."""
        raise NotImplementedError

    def cut(self, exchange: Exchange) -> None:
        """As abort, but what was sent arrives: the response ends where it is, and not as a whole one ends."""
        raise NotImplementedError

    def gather(self, exchange: Exchange, most: int) -> asyncio.Future[bool]:
        """Take the whole request body, if it has at most `most` bytes, before a target is asked."""
        raise NotImplementedError

    def pause(self) -> None:
        """The target can't take more of the request body."""
        raise NotImplementedError

    def resume(self) -> None:
        """The target takes the request body again."""
        raise NotImplementedError

    def answer(self, exchange: Exchange, response: Response) -> None:
        """Answer with a response of the edge's own; when a head has gone out already, abort."""
        raise NotImplementedError


class Target:
    """The upstream's side of an exchange, as a client connection sees it."""

    def take(self, exchange: Exchange, chunk: bytes) -> None:
        """Take a piece of the request body."""
        raise NotImplementedError

    def end(self, exchange: Exchange) -> None:
        """The request body is complete."""
        raise NotImplementedError

    def pause(self) -> None:
        """The client can't take more of the response."""
        raise NotImplementedError

    def resume(self) -> None:
        """The client takes the response again."""
        raise NotImplementedError

    def waiting(self) -> int:
        """Bytes of the request body that the upstream has not taken yet."""
        raise NotImplementedError

    def cancel(self, exchange: Exchange) -> None:
        """The client has gone: stop."""
        raise NotImplementedError


class Exchange:
    """One request in flight: what was asked, what the phases found out, and what became of it."""

    def __init__(self, downstream: Downstream, fields: FieldReader, now: float, wall: float) -> None:
        self.downstream = downstream
        self.fields = fields
        self.now = now  # monotonic seconds, when the head was complete
        self.wall = wall  # seconds since 1970
        self.method = b""
        self.target = b""  # as it came
        self.path = b""  # as it is forwarded: dot segments resolved, percent-encoding as it came
        self.match = b""  # as it is matched: percent-decoded but for %2F, runs of slashes as one
        self.query = b""  # with its "?", or empty
        self.authority = b""  # the Host field
        self.host = b""  # lower-case, without port
        self.version = 11
        self.length = 0  # of the request body; UNKNOWN_LENGTH when chunked
        self.expect = False  # 100-continue
        self.websocket = False
        self.peer = b""  # the socket's address
        self.client = b""  # the client's, told by trusted proxies
        self.scheme = b"http"
        self.peer_certificate: Certificate | None = None  # that the client has shown in TLS, verified
        self.request_id = b""
        self.route: CompiledRoute | None = None
        self.params: list[bytes] = []  # what the path's parameters matched
        self.principal: Principal | None = None
        self.credential = 0  # kind of the field whose credential was used (not forwarded)
        self.body_limit = 0
        self.request_fields = b""  # raw lines of ours that go upstream
        self.response_fields = b""  # raw lines of ours that go to the client
        self.request_edit: Edit | None = None
        self.response_edit: Edit | None = None
        self.notes: dict[str, Any] = {}
        self.rank = 0  # how many of the route's steps were asked
        self.target_side: Target | None = None
        self.pending = b""  # of the request body, read but not yet taken by a target
        self.body_done = True  # the request body has been read to its end
        self.tries = 0  # how often a target was asked
        self.deadline = 0.0  # monotonic; 0 = none
        self.total_deadline = 0.0
        self.status = 0
        self.code = ""  # why it was refused or failed; "" when all went well
        self.responding = False  # a response head has gone out
        self.bytes_in = 0
        self.bytes_out = 0
        self.upstream = b""  # the address that took it
        self.tap: Tap | None = None  # reads from the answer what it has cost, where a limit asks for it
        self.guarded: Guarded | None = None  # what the route's guard has found, and holds
        self.finished = False
        self.ended = 0.0  # monotonic
        self.trace: Trace | None = None  # only while tracing is on

    def take(self, request: RequestHead) -> None:
        """What the head asks for; the reader itself goes on to the next head."""
        self.method = request.method
        self.target = request.target
        self.path = request.path
        self.match = request.match
        self.query = request.query
        self.authority = request.authority
        self.host = request.host
        self.version = request.version
        self.length = request.length
        self.expect = request.expect

    def field(self, name: bytes) -> bytes | None:
        """The request field `name` (lower-case), several joined with ", ", or None."""
        return self.fields.get(name)

    def problem(self, status: int, code: str, detail: str, hint: str, fields: bytes = b"") -> Response:
        """A refusal as problem+json (RFC 9457) that names this request."""
        body = json.dumps(
            {
                "type": f"urn:portico:problem:{code}",
                "title": REASONS.get(status, b"Error").decode(),
                "status": status,
                "code": code,
                "detail": detail,
                "hint": hint,
                "request_id": self.request_id.decode("latin-1"),
            }
        ).encode()
        lines = PROBLEM + fields
        return Response(status, body, lines, code)


class Step:
    """One policy as compiled into one route.

    `check` answers None (go on), a Response (stop) or an awaitable of either; `settle` is told when the exchange has
    ended, however it ended, if `check` was asked.

    `peek` answers what `check` would answer now, and leaves in the exchange what `check` would leave there for later
    steps and heads (request_id, principal, credential, body_limit, fields, edits). It spends nothing and changes
    nothing beside the exchange, however often it is asked; nothing is settled after it. `portico explain` asks it; a
    step without one can't be explained.
    """

    def __init__(
        self,
        name: str,
        phase: int,
        check: Callable[[Exchange], Response | Awaitable[Response | None] | None],
        peek: Callable[[Exchange], Response | Awaitable[Response | None] | None] | None = None,
        settle: Callable[[Exchange], None] | None = None,
    ) -> None:
        self.name = name
        self.phase = phase
        self.check = check
        self.peek = peek
        self.settle = settle


REASONS: Final = {
    100: b"Continue",
    101: b"Switching Protocols",
    200: b"OK",
    204: b"No Content",
    301: b"Moved Permanently",
    302: b"Found",
    304: b"Not Modified",
    307: b"Temporary Redirect",
    308: b"Permanent Redirect",
    400: b"Bad Request",
    401: b"Unauthorized",
    403: b"Forbidden",
    404: b"Not Found",
    405: b"Method Not Allowed",
    408: b"Request Timeout",
    413: b"Content Too Large",
    414: b"URI Too Long",
    415: b"Unsupported Media Type",
    417: b"Expectation Failed",
    422: b"Unprocessable Content",
    429: b"Too Many Requests",
    431: b"Request Header Fields Too Large",
    500: b"Internal Server Error",
    501: b"Not Implemented",
    502: b"Bad Gateway",
    503: b"Service Unavailable",
    504: b"Gateway Timeout",
    505: b"HTTP Version Not Supported",
}
