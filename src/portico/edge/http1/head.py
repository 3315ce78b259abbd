"""Request and response heads (RFC 9112): an allow-list grammar, message framing, and what a connection has to know.

A head is given without the empty line that ends it. What equals the last head's bytes isn't read again.
"""

from __future__ import annotations

from typing import Final

from portico.edge.http1.body import CHUNKED, NO_BODY, UNTIL_CLOSE
from portico.edge.http1.errors import HeadError
from portico.edge.http1.fields import FieldReader
from portico.edge.http1.names import (
    CONTENT_LENGTH,
    CRLF,
    EXPECT,
    HOST,
    SEC_WEBSOCKET_KEY,
    TRANSFER_ENCODING,
    UPGRADE,
    VALUES,
    Names,
    is_token,
)
from portico.edge.http1.target import check, normalise, read_host, same_authority

METHODS: Final[frozenset[bytes]] = frozenset((b"GET", b"POST", b"PUT", b"DELETE", b"HEAD", b"PATCH", b"OPTIONS"))
LONGEST_METHOD: Final = 32
MOST_LENGTH_DIGITS: Final = 18


def _keeps_alive(version: int, options: list[bytes]) -> bool:
    """Whether the connection persists (RFC 9112 section 9.3)."""
    if not options:
        return version == 11
    if b"close" in options:
        return False
    return version == 11 or b"keep-alive" in options


def _has_websocket(fields: FieldReader) -> bool:
    """Whether the fields ask for, or agree to, an upgrade to WebSocket (RFC 6455 section 4)."""
    upgrade = fields.known.get(UPGRADE)
    if upgrade is None or b"upgrade" not in fields.options:
        return False
    for protocol in upgrade.lower().split(b","):  # noqa: SIM110 - a generator costs a closure when compiled
        if protocol.strip(b" \t") == b"websocket":
            return True
    return False


def _read_length(value: bytes) -> int:
    """The value of Content-Length, or -1 when it isn't one number of at most 18 digits."""
    if len(value) > MOST_LENGTH_DIGITS or not value.isdigit():
        return -1
    return int(value)


class RequestHead:
    """The request heads of one client connection, one after another.

    `method`, `target` (as it came), `version` (10 or 11); `path` to forward, `match` to find a route by, `query` with
    its "?"; `authority` is the Host field and `host` its host (see `read_host`), both empty when 1.0 sends none;
    `length` of the body: CHUNKED, 0 or its bytes; `expect`: 100-continue is awaited; `websocket`: a valid upgrade.
    """

    def __init__(self, names: Names) -> None:
        self.fields = FieldReader(names, True)
        self.method = b""
        self.target = b""
        self.version = 11
        self.path = b""
        self.match = b""
        self.query = b""
        self.host = b""
        self.authority = b""
        self.keep_alive = False
        self.length = 0
        self.expect = False
        self.websocket = False
        self.head: bytes | None = None  # the last one that was read without an error
        self.line: bytes | None = None  # and its first line
        self.absolute = b""  # the authority of an absolute target
        self.default_port = b""

    def read(self, head: bytes) -> None:
        """Read a head. Raises HeadError 400, 414, 417, 431, 501 or 505."""
        if head == self.head:
            return
        self.head = None
        end = head.find(CRLF)
        if end < 0:
            end = len(head)
        line = head[:end]
        if line != self.line:
            self._read_line(line)
        self.fields.take(head[end:])
        self._read_host()
        self._read_framing()
        self.keep_alive = _keeps_alive(self.version, self.fields.options)
        self.websocket = False
        if UPGRADE in self.fields.known:
            self._read_upgrade()
        self.head = head

    def _read_line(self, line: bytes) -> None:
        """The request line: method SP target SP version (RFC 9112 section 3)."""
        self.line = None
        parts = line.split(b" ")
        if len(parts) != 3:
            raise HeadError(400, "bad_request_line", "The request line must be a method, a target and a version.")
        method, target, version = parts
        if method not in METHODS and (len(method) > LONGEST_METHOD or not is_token(method)):
            raise HeadError(400, "bad_method", f"The method must be a token of at most {LONGEST_METHOD} characters.")
        self._read_version(version)
        if method == b"CONNECT":
            raise HeadError(501, "not_implemented", "CONNECT is not offered here.")
        check(target)
        self.method = method
        self.target = target
        self._read_target(target)
        self.line = line

    def _read_version(self, version: bytes) -> None:
        if version == b"HTTP/1.1":
            self.version = 11
        elif version == b"HTTP/1.0":
            self.version = 10
        elif version[:5] == b"HTTP/" and version[5:6].isdigit() and version[6:7] == b"." and version[7:].isdigit():
            raise HeadError(505, "version_not_supported", "Only HTTP/1.0 and HTTP/1.1 are spoken on this connection.")
        else:
            raise HeadError(400, "bad_request_line", "The request line must end with HTTP/1.0 or HTTP/1.1.")

    def _read_target(self, target: bytes) -> None:
        """Origin, absolute or asterisk form (RFC 9112 section 3.2)."""
        self.absolute = b""
        if target[:1] != b"/":
            if target == b"*" and self.method == b"OPTIONS":
                self.path = self.match = target
                self.query = b""
                return
            target = self._read_absolute(target)
        mark = target.find(b"?")
        self.query = target[mark:] if mark >= 0 else b""
        path = target[:mark] if mark >= 0 else target
        if path == b"*":
            self.path = self.match = path
            return
        self.path, self.match = normalise(path)

    def _read_absolute(self, target: bytes) -> bytes:
        """Note the authority of an absolute target; the rest in origin form."""
        lower = target[:8].lower()
        if lower[:7] == b"http://":
            start = 7
            self.default_port = b"80"
        elif lower == b"https://":
            start = 8
            self.default_port = b"443"
        else:
            raise HeadError(400, "bad_target", "The request target must be a path or an http or https URI.")
        rest = target[start:]
        end = len(rest)
        for mark in (b"/", b"?"):
            at = rest.find(mark, 0, end)
            if at >= 0:
                end = at
        self.absolute = rest[:end]
        read_host(self.absolute)
        rest = rest[end:]
        if not rest and self.method == b"OPTIONS":
            return b"*"  # RFC 9112 section 3.2.4: OPTIONS of a URI without a path asks the server as a whole
        return rest if rest[:1] == b"/" else b"/" + rest

    def _read_host(self) -> None:
        """Host: one with 1.1, agreeing with an absolute target (RFC 9112 section 3.2)."""
        authority = self.fields.known.get(HOST)
        if authority is None:
            if self.version == 11:
                raise HeadError(400, "bad_host", "HTTP/1.1 needs a Host field.")
            authority = self.absolute
        if authority != self.authority or not authority:
            self.authority = b""
            self.host = b""
            if authority or HOST in self.fields.known:
                self.host = read_host(authority)
            self.authority = authority
        if self.absolute and not same_authority(self.absolute, authority, self.default_port):
            raise HeadError(400, "bad_host", "The request target names another host than the Host field.")

    def _read_framing(self) -> None:
        """Where the body ends (RFC 9112 section 6.3), and whether the client waits before it sends it."""
        known = self.fields.known
        coding = known.get(TRANSFER_ENCODING)
        given = known.get(CONTENT_LENGTH)
        self.length = 0
        if coding is not None:
            self._check_coding(coding, given is not None)
            self.length = CHUNKED
        elif given is not None:
            self.length = _read_length(given)
            if self.length < 0:
                raise HeadError(400, "bad_length", "Content-Length must be one number of at most 18 digits.")
        self.expect = False
        expect = known.get(EXPECT)
        if expect is not None and self.version == 11:
            if expect.lower() != b"100-continue":
                raise HeadError(417, "bad_expect", "The only expectation that can be met is 100-continue.")
            self.expect = self.length != 0

    def _check_coding(self, coding: bytes, with_length: bool) -> None:
        if self.version == 10:
            raise HeadError(400, "bad_transfer_encoding", "HTTP/1.0 has no Transfer-Encoding.")
        if with_length:
            raise HeadError(400, "bad_transfer_encoding", "Transfer-Encoding and Content-Length exclude each other.")
        if coding.lower() != b"chunked":
            raise HeadError(501, "bad_transfer_encoding", "The only transfer coding that is understood is chunked.")

    def _read_upgrade(self) -> None:
        """An upgrade to anything else, or with a body, is dropped and the request goes on without it."""
        if self.method == b"GET" and self.version == 11 and self.length == 0:
            self.websocket = SEC_WEBSOCKET_KEY in self.fields.known and _has_websocket(self.fields)


class ResponseHead:
    """The response heads of one upstream connection, one after another.

    `status`, `reason`, `version` (10 or 11), `keep_alive`; `length` of the body: CHUNKED, UNTIL_CLOSE, NO_BODY or its
    bytes; `upgrade`: 101 to WebSocket. Content-Length of an answer without a body (HEAD, 304) is in `fields.known`.
    """

    def __init__(self, names: Names) -> None:
        self.fields = FieldReader(names, False)
        self.status = 0
        self.reason = b""
        self.version = 11
        self.keep_alive = False
        self.length = 0
        self.upgrade = False
        self.line: bytes | None = None  # the last status line that was read without an error

    def read(self, head: bytes, method: bytes) -> None:
        """Read the head of an answer to `method`. Raises HeadError(502)."""
        end = head.find(CRLF)
        if end < 0:
            end = len(head)
        line = head[:end]
        if line != self.line:
            self._read_line(line)
        self.fields.take(head[end:])
        self.length = self._read_length(method)
        self.keep_alive = self.length != UNTIL_CLOSE and _keeps_alive(self.version, self.fields.options)
        self.upgrade = False
        if self.status == 101:
            self.upgrade = self.version == 11 and _has_websocket(self.fields)
            if not self.upgrade:
                raise HeadError(502, "bad_upgrade", "The upstream switched to a protocol that nobody asked for.")

    def _read_line(self, line: bytes) -> None:
        """The status line: version SP status [SP reason] (RFC 9112 section 4)."""
        self.line = None
        version = line[:9]
        digits = line[9:12]
        good = version == b"HTTP/1.1 " or version == b"HTTP/1.0 "
        good = good and len(digits) == 3 and digits.isdigit() and b"100" <= digits <= b"599"
        if not good or line[12:13] not in (b"", b" ") or line.translate(VALUES) != line:
            raise HeadError(502, "bad_status_line", "The upstream's answer doesn't begin with a valid status line.")
        self.version = 11 if version == b"HTTP/1.1 " else 10
        self.status = int(digits)
        self.reason = line[13:]
        self.line = line

    def _read_length(self, method: bytes) -> int:
        """Where the body ends (RFC 9112 section 6.3)."""
        known = self.fields.known
        coding = known.get(TRANSFER_ENCODING)
        given = known.get(CONTENT_LENGTH)
        length = UNTIL_CLOSE
        if coding is not None:
            if self.version == 10 or given is not None or coding.lower() != b"chunked":
                raise HeadError(502, "bad_transfer_encoding", "The upstream's answer has no safe framing.")
            length = CHUNKED
        elif given is not None:
            length = _read_length(given)
            if length < 0:
                raise HeadError(502, "bad_length", "The upstream's Content-Length isn't one number.")
        if method == b"HEAD" or self.status < 200 or self.status == 204 or self.status == 304:
            return NO_BODY
        return length
