"""Field names that the edge knows, as small integers, and a bounded memory of names as clients spell them.

The order of the kinds carries meaning: up to `LAST_HOP` a field ends at this hop in both directions; up to
`LAST_REPLACED` the edge writes its own in both directions; up to `LAST_OWN` it isn't copied from a client's request
either, because the edge reads it and writes its own.
"""

from __future__ import annotations

from typing import Final

OTHER: Final = 0  # a name the edge has no use for

CONNECTION: Final = 1
TRANSFER_ENCODING: Final = 2
CONTENT_LENGTH: Final = 3
KEEP_ALIVE: Final = 4
PROXY_CONNECTION: Final = 5
TE: Final = 6
TRAILER: Final = 7
UPGRADE: Final = 8
PROXY_AUTHENTICATE: Final = 9
PROXY_AUTHORIZATION: Final = 10
LAST_HOP: Final = 10

X_REQUEST_ID: Final = 11
LAST_REPLACED: Final = 11

HOST: Final = 12
EXPECT: Final = 13
X_API_KEY: Final = 14
AUTHORIZATION: Final = 15
FORWARDED: Final = 16
X_FORWARDED_FOR: Final = 17
X_FORWARDED_PROTO: Final = 18
X_FORWARDED_HOST: Final = 19
X_PORTICO_PRINCIPAL: Final = 20
LOOKALIKE: Final = 21  # one of the names above with "_" for "-": CGI and WSGI read both alike
LAST_OWN: Final = 21

TRACEPARENT: Final = 22
ORIGIN: Final = 23
CONTENT_TYPE: Final = 24
COOKIE: Final = 25
VIA: Final = 26
DATE: Final = 27
SERVER: Final = 28
ETAG: Final = 29
CACHE_CONTROL: Final = 30
RETRY_AFTER: Final = 31
SEC_WEBSOCKET_KEY: Final = 32
SEC_WEBSOCKET_ACCEPT: Final = 33

KNOWN: Final[dict[bytes, int]] = {
    b"connection": CONNECTION,
    b"transfer-encoding": TRANSFER_ENCODING,
    b"content-length": CONTENT_LENGTH,
    b"keep-alive": KEEP_ALIVE,
    b"proxy-connection": PROXY_CONNECTION,
    b"te": TE,
    b"trailer": TRAILER,
    b"upgrade": UPGRADE,
    b"proxy-authenticate": PROXY_AUTHENTICATE,
    b"proxy-authorization": PROXY_AUTHORIZATION,
    b"host": HOST,
    b"expect": EXPECT,
    b"x-api-key": X_API_KEY,
    b"authorization": AUTHORIZATION,
    b"x-request-id": X_REQUEST_ID,
    b"forwarded": FORWARDED,
    b"x-forwarded-for": X_FORWARDED_FOR,
    b"x-forwarded-proto": X_FORWARDED_PROTO,
    b"x-forwarded-host": X_FORWARDED_HOST,
    b"x-portico-principal": X_PORTICO_PRINCIPAL,
    b"traceparent": TRACEPARENT,
    b"origin": ORIGIN,
    b"content-type": CONTENT_TYPE,
    b"cookie": COOKIE,
    b"via": VIA,
    b"date": DATE,
    b"server": SERVER,
    b"etag": ETAG,
    b"cache-control": CACHE_CONTROL,
    b"retry-after": RETRY_AFTER,
    b"sec-websocket-key": SEC_WEBSOCKET_KEY,
    b"sec-websocket-accept": SEC_WEBSOCKET_ACCEPT,
}

# A second one of these is refused: two readers could choose differently (RFC 9110 section 5.3).
SINGLE: Final[frozenset[int]] = frozenset(
    (TRANSFER_ENCODING, CONTENT_LENGTH, HOST, EXPECT, X_API_KEY, AUTHORIZATION, ORIGIN, CONTENT_TYPE)
)

# RFC 9110 section 5.6.2
TOKEN: Final = b"!#$%&'*+-.^_`|~0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ"
# RFC 9110 section 5.5: VCHAR, obs-text, SP and HTAB
VALUE: Final = b"\t" + bytes(range(0x20, 0x7F)) + bytes(range(0x80, 0x100))
CRLF: Final = b"\r\n"


def others(allowed: bytes) -> bytes:
    """A table by which `translate` changes every byte but the allowed ones: text of allowed bytes stays what it is.

    That costs less than half of deleting bytes, for which CPython makes such a table in every call.
    """
    return bytes(byte if byte in allowed else 0 if byte else 1 for byte in range(256))


TOKENS: Final = others(TOKEN)
VALUES: Final = others(VALUE)

MOST_NAMES: Final = 4096
LONGEST_NAME: Final = 64  # longer ones are looked at each time, so that a client can't fill the memory with them


def is_token(text: bytes) -> bool:
    """Whether `text` is a token (RFC 9110 section 5.6.2)."""
    return len(text) > 0 and text.translate(TOKENS) == text


class Names:
    """Raw field name → kind, learnt as names are seen; one for all connections of a process."""

    def __init__(self) -> None:
        self.kinds: dict[bytes, int] = {}
        for name, kind in KNOWN.items():
            self.kinds[name] = kind
            self.kinds[name.title()] = kind

    def learn(self, raw: bytes) -> int:
        """The kind of a name that `kinds` doesn't hold yet, or -1 when it isn't a token."""
        if not is_token(raw):
            return -1
        name = raw.lower()
        kind = KNOWN.get(name, OTHER)
        if kind == OTHER and b"_" in name and 0 < KNOWN.get(name.replace(b"_", b"-"), OTHER) <= LAST_OWN:
            kind = LOOKALIKE
        if len(raw) <= LONGEST_NAME and len(self.kinds) < MOST_NAMES:
            self.kinds[raw] = kind
        return kind
