"""The PROXY protocol, versions 1 and 2 (haproxy.org/download/2.9/doc/proxy-protocol.txt): who the client really is.

The header stands before everything else on a connection, also before TLS. It is read from the socket itself, byte for
byte no further than its end, so that whatever follows in the same segment is still there for the next reader.
"""

from __future__ import annotations

import ipaddress
import socket
import struct
from typing import Final

SIGNATURE: Final = b"\r\n\r\n\x00\r\nQUIT\n"  # begins version 2
FIXED: Final = 16  # bytes of a version 2 header before its addresses
MAX_LINE: Final = 107  # bytes of a version 1 header, CRLF included
MAX_BLOCK: Final = 4096  # bytes of addresses and TLVs in version 2; senders use a few hundred
LOCAL: Final = 0x20
PROXY: Final = 0x21
ADDRESSES: Final = {0x11: 4, 0x21: 16}  # TCP over IPv4 and IPv6: bytes of an address
NAMELESS: Final = frozenset([0x00, 0x12, 0x22, 0x31, 0x32])  # known families without an address that counts here
PORTS: Final = 4
FAMILIES: Final = {b"TCP4": 4, b"TCP6": 6}


class ProxyHeaderError(ValueError):
    """The connection does not begin with a valid header; the message says why."""


class HeaderReader:
    """Reads the header of one connection from a socket that does not block.

    `read` answers False as long as more has to come. Then `peer` is the client's address in text, or None when the
    header tells none (UNKNOWN, LOCAL): the connection's own address counts.
    """

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.data = b""
        self.peer: bytes | None = None

    def read(self) -> bool:
        """Take what has come. ProxyHeaderError when it is no header, OSError when the connection has failed."""
        while True:
            wanted = self._wanted()
            if wanted == 0:
                self.peer = version_2(self.data)
                return True
            piece = self._receive(wanted)
            if piece is None:
                return False
            self.data += piece
            if self.data.startswith(b"PROXY ") and self.data.endswith(b"\r\n"):
                self.peer = version_1(self.data)
                return True

    def _wanted(self) -> int:
        """How many bytes at most belong to the header still; 0 when it is complete (version 2)."""
        data = self.data
        if data == SIGNATURE[: len(data)]:
            return FIXED - len(data)
        if data.startswith(SIGNATURE):
            return FIXED + block_length(data) - len(data) if len(data) >= FIXED else FIXED - len(data)
        if data[:6] != b"PROXY "[: len(data)]:
            raise ProxyHeaderError("it does not begin with a PROXY header")
        if len(data) >= MAX_LINE:
            raise ProxyHeaderError("its PROXY header has no end")
        return MAX_LINE - len(data)

    def _receive(self, wanted: int) -> bytes | None:
        """Up to `wanted` bytes, and nothing that stands behind the header's end; None when there is nothing yet."""
        try:
            seen = self.sock.recv(wanted, socket.MSG_PEEK)
        except (BlockingIOError, InterruptedError):
            return None
        if not seen and not self.data:
            raise ConnectionResetError("the connection ended without a word")
        if not seen:
            raise ProxyHeaderError("it ended before its PROXY header was complete")
        return self.sock.recv(self._ours(seen))

    def _ours(self, seen: bytes) -> int:
        """How many of the bytes seen belong to the header."""
        both = self.data + seen
        if both[:1] != b"P":
            return len(seen)  # version 2, whose length is known, or no header at all
        end = both.find(b"\r\n")
        return len(seen) if end < 0 else end + 2 - len(self.data)


def version_1(header: bytes) -> bytes | None:
    """The client's address in a line such as `PROXY TCP4 192.0.2.1 192.0.2.2 1024 443`, CRLF included."""
    parts = header[:-2].split(b" ")
    if parts[1] == b"UNKNOWN":
        return None
    family = FAMILIES.get(parts[1])
    if family is None or len(parts) != 6:
        raise ProxyHeaderError("its PROXY header names no known protocol, or has not four values")
    source, _ = address(parts[2], family), address(parts[3], family)
    port(parts[4])
    port(parts[5])
    return source


def version_2(header: bytes) -> bytes | None:
    """The client's address in a whole binary header."""
    command, family = header[12], header[13]
    if command == LOCAL:
        return None  # the proxy speaks for itself: a health check
    if command != PROXY:
        raise ProxyHeaderError("its PROXY header has an unknown version or command")
    if family in NAMELESS:
        return None
    size = ADDRESSES.get(family)
    if size is None:
        raise ProxyHeaderError("its PROXY header has an unknown family")
    if len(header) < FIXED + 2 * size + PORTS:
        raise ProxyHeaderError("its PROXY header is too short for its addresses")
    return str(ipaddress.ip_address(header[FIXED : FIXED + size])).encode()


def block_length(header: bytes) -> int:
    """The bytes that follow the fixed part of a version 2 header."""
    length: int = struct.unpack_from(">H", header, FIXED - 2)[0]
    if length > MAX_BLOCK:
        raise ProxyHeaderError(f"its PROXY header is longer than {MAX_BLOCK} bytes")
    return length


def address(text: bytes, family: int) -> bytes:
    """An address of version 1 as it is written everywhere else."""
    try:
        parsed = ipaddress.ip_address(text.decode("ascii"))
    except ValueError:
        raise ProxyHeaderError("its PROXY header has an address that is none") from None
    if parsed.version != family or text.find(b"%") >= 0:
        raise ProxyHeaderError("its PROXY header has an address of the other family")
    return str(parsed).encode()


def port(text: bytes) -> None:
    """Refuse what is no port of version 1: digits, 0 to 65535, no leading zero."""
    if not text.isdigit() or len(text) > 5 or int(text) > 65535 or (text[:1] == b"0" and text != b"0"):
        raise ProxyHeaderError("its PROXY header has a port that is none")
