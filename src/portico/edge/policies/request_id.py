"""IDENTIFY: the name of a request in logs, answers and upstreams. A sane X-Request-Id is kept, else one is made."""

from __future__ import annotations

import os
from typing import Any, Final

from portico.contracts import IDENTIFY
from portico.edge.context import PolicyContext
from portico.edge.exchange import Exchange, Response, Step
from portico.edge.http1.names import X_REQUEST_ID

SANE: Final = b"0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ._-"
LONGEST: Final = 128
POOL: Final = 2048  # random bytes fetched at once, enough for some 200 ids
DIGITS: Final = 19  # random hexadecimal digits of an id; of one of them two bits are used
VARIANT: Final = {b"%x" % digit: b"89ab"[digit % 4 : digit % 4 + 1] for digit in range(16)}


class RequestIds:
    """Makes UUIDv7 values (RFC 9562 5.7) of 36 characters, in the order of time to the millisecond."""

    def __init__(self) -> None:
        self.millisecond = -1
        self.prefix = b""
        self.pool = b""
        self.used = 0

    def make(self, wall: float) -> bytes:
        """A new id; `wall` is in seconds since 1970."""
        millisecond = int(wall * 1000)
        if millisecond != self.millisecond:
            self.millisecond = millisecond
            self.prefix = _prefix(millisecond)
        used = self.used
        if used + DIGITS > len(self.pool):
            self.pool = os.urandom(POOL).hex().encode()
            used = 0
        self.used = used + DIGITS
        return self.prefix + _suffix(self.pool[used : used + DIGITS])


class RequestId:
    """The policy of one route."""

    def __init__(self, ids: RequestIds) -> None:
        self.ids = ids

    def check(self, exchange: Exchange) -> Response | None:
        given = exchange.fields.known.get(X_REQUEST_ID)
        if given is not None and 0 < len(given) <= LONGEST and not given.translate(None, SANE):
            exchange.request_id = given
        else:
            exchange.request_id = self.ids.make(exchange.wall)
        return None


def new_request_id(wall: float) -> bytes:
    """A new id for a request that reached no policy; `wall` is in seconds since 1970."""
    return _prefix(int(wall * 1000)) + _suffix(os.urandom(10).hex().encode())


def build(config: dict[str, Any], context: PolicyContext) -> Step:
    """`config` has no keys."""
    ids = context.shared.get("request_ids")
    if not isinstance(ids, RequestIds):
        ids = context.shared["request_ids"] = RequestIds()
    return Step("request_id", IDENTIFY, RequestId(ids).check, RequestId(RequestIds()).check)


def _prefix(millisecond: int) -> bytes:
    """The 48 bits of the time and the version."""
    digits = b"%012x" % millisecond
    return digits[:8] + b"-" + digits[8:12] + b"-7"


def _suffix(random: bytes) -> bytes:
    """The variant and the random bits, from at least DIGITS hexadecimal digits."""
    return random[:3] + b"-" + VARIANT[random[3:4]] + random[4:7] + b"-" + random[7:19]
