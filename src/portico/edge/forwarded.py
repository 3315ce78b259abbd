"""Who the client is behind trusted proxies, and what upstreams are told about it (RFC 7239, X-Forwarded-*)."""

from __future__ import annotations

import ipaddress
from typing import Final

from portico.edge.exchange import Exchange
from portico.edge.http1 import names

VIA: Final = b"\r\nVia: 1.1 portico"
HOPS: Final = 32  # entries of X-Forwarded-For that are looked at
SCHEMES: Final = frozenset([b"http", b"https"])


class Forwarded:
    """One client connection's view: the lines are made once for a peer that is no proxy and stays with one host."""

    def __init__(self, peer: bytes, scheme: bytes) -> None:
        self.peer = peer
        self.scheme = scheme
        self.trusted = False
        self.authority = b"\x00"
        self.lines = b""

    def trust(self, networks: list[object]) -> None:
        """Decide whether the peer is one of the trusted proxies."""
        self.trusted = trusted(self.peer, networks)

    def client(self, exchange: Exchange, networks: list[object]) -> bytes:
        """The client's address: the last one in X-Forwarded-For that is not a trusted proxy's."""
        if not self.trusted:
            return self.peer
        seen = exchange.fields.known.get(names.X_FORWARDED_FOR)
        if seen is None:
            return self.peer
        client = self.peer
        for entry in reversed(seen.split(b",")[-HOPS:]):
            address = plain_address(entry)
            if not address:
                break
            client = address
            if not trusted(address, networks):
                break
        return client

    def fields(self, exchange: Exchange) -> bytes:
        """The lines that go upstream."""
        if self.trusted:
            return self._appended(exchange)
        if exchange.authority != self.authority:
            self.authority = exchange.authority
            self.lines = lines(self.peer, self.scheme, exchange.authority, b"", b"")
        return self.lines

    def _appended(self, exchange: Exchange) -> bytes:
        known = exchange.fields.known
        scheme = known.get(names.X_FORWARDED_PROTO, b"").lower()
        host = known.get(names.X_FORWARDED_HOST, b"")
        return lines(
            self.peer,
            scheme if scheme in SCHEMES else self.scheme,
            host if host and not set(host) & set(b', "') else exchange.authority,
            known.get(names.X_FORWARDED_FOR, b""),
            known.get(names.FORWARDED, b""),
        )


def lines(peer: bytes, scheme: bytes, host: bytes, before: bytes, elements: bytes) -> bytes:
    """Via, X-Forwarded-For/Proto/Host and Forwarded; `before` and `elements` are what a trusted proxy had told."""
    node = b'"[' + peer + b']"' if peer.find(b":") >= 0 else peer or b"unknown"
    chain = before + b", " + peer if before else peer
    element = b"for=" + node + (b';host="' + host + b'"' if host else b"") + b";proto=" + scheme
    return b"".join([
        VIA,
        b"\r\nX-Forwarded-For: ", chain,
        b"\r\nX-Forwarded-Proto: ", scheme,
        b"\r\nX-Forwarded-Host: " + host if host else b"",
        b"\r\nForwarded: ", elements + b", " + element if elements else element,
    ])  # fmt: skip


def plain_address(entry: bytes) -> bytes:
    """An X-Forwarded-For entry as a bare address, or empty when it is none."""
    text = entry.strip(b" \t")
    if text.startswith(b"["):
        text = text[1:].split(b"]")[0]
    elif text.count(b":") == 1:
        text = text.split(b":")[0]
    try:
        return str(ipaddress.ip_address(text.decode("latin-1"))).encode()
    except ValueError:
        return b""


def trusted(address: bytes, networks: list[object]) -> bool:
    """Whether an address lies in one of the networks. A Unix socket's peer (no address) is this machine."""
    if not networks:
        return False
    try:
        parsed = ipaddress.ip_address(address.decode("latin-1") or "127.0.0.1")
    except ValueError:
        return False
    mapped = getattr(parsed, "ipv4_mapped", None)
    return any((mapped or parsed) in network for network in networks)  # type: ignore[operator]
