"""Asks the services what they think of a body, or of a piece of a stream."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final

from portico.edge.callers import Callers
from portico.edge.exchange import Exchange
from portico.edge.guard.guarded import CLEAN, EMPTY, MALICIOUS, Judged
from portico.errors import ServicesAway

PATH: Final = b"/_portico/guard"
AT_ONCE: Final = 32  # questions on the wire
OF_ONE: Final = 16  # of them of one caller, so that whoever sends much keeps none but themselves waiting
AGAIN: Final = 0.05  # seconds until a question is asked once more that nobody took: services may be changing places
LANES: Final = "guard:lanes"  # of what outlives reloads

REQUEST: Final = "request"
RESPONSE: Final = "response"
JSON: Final = "json"
TEXT: Final = "text"
EVENTS: Final = "events"
MILLION: Final = 1_000_000
PLAIN: Final = frozenset([b"", b"utf-8", b"utf8", b"us-ascii"])  # charsets that are UTF-8


class Told:
    """An answer. `unreadable` says why there is no verdict, "" where there is one; `carry` goes into the next one."""

    def __init__(self, record: dict[str, Any]) -> None:
        self.unreadable = str(record.get("unreadable", ""))
        self.malicious = bool(record.get("malicious", False))
        self.empty = bool(record.get("empty", False))
        self.confidence = float(record.get("confidence", 0.0))
        self.threats = [str(each) for each in record.get("threat_types", [])]
        self.carry: dict[str, str] = dict(record.get("carry") or {})
        self.engine = str(record.get("engine", ""))
        self.degraded = bool(record.get("degraded", False))
        self.cached = bool(record.get("cache_hit", False))

    def judged(self) -> Judged | None:
        """As usage counts it; None where there was nothing to judge."""
        if self.empty:
            return None
        return Judged(self.engine, self.malicious, round(self.confidence * MILLION), self.degraded, self.cached)

    def verdict(self) -> bytes:
        """One word."""
        return MALICIOUS if self.malicious else EMPTY if self.empty else CLEAN

    def value(self) -> bytes:
        """As X-Portico-Guard has it."""
        if self.empty:
            return EMPTY
        value = self.verdict() + b";confidence=%.3f" % self.confidence
        return value + b";threats=" + "+".join(self.threats).encode() if self.threats else value


class Lanes:
    """Places for questions of all routes: AT_ONCE in all, OF_ONE for each caller. Knows those callers who ask now."""

    def __init__(self) -> None:
        self.all = asyncio.Semaphore(AT_ONCE)
        self.callers: dict[str, tuple[asyncio.Semaphore, int]] = {}  # and how many questions they have, waiting or not

    @asynccontextmanager
    async def seat(self, who: str) -> AsyncIterator[None]:
        """Wait for a place; it is given back at the end."""
        own, asking = self.callers.get(who) or (asyncio.Semaphore(OF_ONE), 0)
        self.callers[who] = own, asking + 1
        try:
            async with own, self.all:
                yield
        finally:
            own, asking = self.callers.pop(who)
            if asking > 1:
                self.callers[who] = own, asking - 1


class Asker:
    """The questions of one route. `timeout`: seconds for each, waiting included."""

    def __init__(self, callers: Callers, config: dict[str, Any], shared: dict[Any, Any]) -> None:
        self.callers = callers
        self.shared = shared
        self.timeout = float(config["timeout"])
        self.paths = config["paths"]
        self.threshold = float(config["threshold"])

    async def ask(
        self, exchange: Exchange, message: str, form: str, payload: bytes, carry: dict[str, str] | None = None
    ) -> Told:
        """The answer; ServicesAway when there is none in time."""
        principal = exchange.principal
        question = {
            "message": message,
            "form": form,
            "paths": self.paths,
            "threshold": self.threshold,
            "timeout": self.timeout,
            "tenant": "" if principal is None else principal.tenant,
            "owner": "" if principal is None else f"{principal.kind}:{principal.id}",
            "request_id": exchange.request_id.decode("latin-1"),
            "carry": carry or {},
        }
        lanes: Lanes = self.shared.setdefault(LANES, Lanes())
        who = f"{principal.kind}:{principal.id}" if principal is not None else exchange.client.decode("latin-1")
        try:
            async with asyncio.timeout(self.timeout), lanes.seat(who):
                status, told = await self._told(json.dumps(question).encode() + b"\n" + payload)
        except TimeoutError:
            raise ServicesAway("the services did not answer in time") from None
        if status != 200:
            raise ServicesAway(f"the services answered {status}")
        try:
            return Told(json.loads(told))
        except (ValueError, TypeError, AttributeError):
            raise ServicesAway("the services gave an answer that can't be read") from None

    async def _told(self, question: bytes) -> tuple[int, bytes]:
        if not self.callers.present:
            raise ServicesAway("there are no services")
        try:
            return await self.callers.wire.ask(b"POST", PATH, question)
        except ServicesAway:
            await asyncio.sleep(AGAIN)
        return await self.callers.wire.ask(b"POST", PATH, question)


def form_of(content_type: bytes | None, coding: bytes | None) -> str:
    """How a body is scanned: JSON, TEXT or EVENTS; "" when it is not."""
    if coding is not None and coding.lower() != b"identity":
        return ""
    kind, _, parameters = (content_type or b"").lower().partition(b";")
    kind = kind.strip()
    for each in charsets(parameters):
        if each not in PLAIN:
            return ""
    if kind == b"application/json" or (kind.startswith(b"application/") and kind.endswith(b"+json")):
        return JSON
    if kind == b"text/event-stream":
        return EVENTS
    return TEXT if kind.startswith(b"text/") and b"," not in kind else ""


def charsets(parameters: bytes) -> list[bytes]:
    """All that may be taken for the charset among a media type's parameters, in small letters.

    Readers disagree about which of several counts, and about a `;` in quotes; `charset*` is RFC 8187's way to say it.
    """
    found: list[bytes] = []
    for each in parameters.split(b";"):
        name, _, value = each.partition(b"=")
        if name.strip().partition(b"*")[0] == b"charset":
            found.append(value.strip().strip(b'"'))
    return found
