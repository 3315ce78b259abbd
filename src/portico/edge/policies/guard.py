"""VALIDATE: bodies are scanned for attacks on language models before an upstream sees them, and answers if asked for.

The edge takes the body, the services look into it. What was scanned goes on byte by byte as it came. The upstream is
told in X-Portico-Guard; a client's copy of that field is dropped, and so is an upstream's. The client is not told what
was thought of its request while it is let through: that would help whoever tries to find a way around.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import Any, Final

from portico.contracts import VALIDATE
from portico.edge.context import PolicyContext
from portico.edge.edit import Edit
from portico.edge.exchange import Exchange, Response, Step
from portico.edge.guard import refusals
from portico.edge.guard.asking import EVENTS, REQUEST, TEXT, Asker, Told, form_of
from portico.edge.guard.guarded import UNAVAILABLE, UNSCANNED, Guarded
from portico.edge.guard.screen import Screen
from portico.edge.policies.auth import callers_of
from portico.edge.policies.require import WHY
from portico.errors import ServicesAway

FIELD: Final = "X-Portico-Guard"
# Upstreams that turn names into variables (CGI, WSGI) take all of these for the same.
ALIKE: Final = ["X-Portico-Guard", "X_Portico-Guard", "X-Portico_Guard", "X_Portico_Guard"]
LINE: Final = b"\r\nX-Portico-Guard: "


class Guard:
    """The policy of one route."""

    def __init__(self, config: dict[str, Any], context: PolicyContext) -> None:
        self.fields: list[str] = list(config["fields"])
        self.blocks = config["on"] == "block"
        self.open = config["on_failure"] == "open"
        self.threshold = float(config["threshold"])
        self.response = bool(config["response"])
        self.max_bytes = int(config["max_bytes"])
        self.asker = Asker(callers_of(context), config, context.shared)
        # What is compressed can't be scanned.
        self.edit = Edit({"Accept-Encoding": "identity"} if self.response else {}, {}, ALIKE)
        self.answer_edit = Edit({}, {}, [FIELD])

    def check(self, exchange: Exchange) -> Response | Awaitable[Response | None] | None:
        self._edit(exchange)
        guarded = exchange.guarded = Guarded()
        downstream = exchange.downstream
        if self.response:
            exchange.downstream = Screen(downstream, guarded, self.asker, self.blocks, self.open, self.max_bytes)
        if exchange.length == 0:
            return None
        form = self._form(exchange)
        refusal = self._refusal(exchange, form)
        if refusal is not None:
            guarded.request = b"" if form else UNSCANNED
            return refusal
        if not form:
            self._tell(exchange, guarded, UNSCANNED, UNSCANNED)
            return None
        return self._judged(exchange, guarded, form)

    def peek(self, exchange: Exchange) -> Response | None:
        """As check, without looking into a body: that there is none, or what will be done with it."""
        self._edit(exchange)
        if exchange.length != 0:
            form = self._form(exchange)
            refusal = self._refusal(exchange, form)
            if refusal is not None:
                return refusal
            exchange.notes.setdefault(WHY, []).append(self._plan(form))
        if self.response:
            exchange.notes.setdefault(WHY, []).append("the answer will be scanned as well")
        return None

    def settle(self, exchange: Exchange) -> None:
        """Wait for nothing any more, and count what was found."""
        guarded = exchange.guarded
        if guarded is None:
            return
        guarded.stop()
        route = exchange.route
        if route is not None:
            for message, verdict in (("request", guarded.request), ("response", guarded.response)):
                if verdict:
                    key = (message, verdict.decode())
                    route.stats.guard[key] = route.stats.guard.get(key, 0) + 1

    # -- what a head says

    def _edit(self, exchange: Exchange) -> None:
        exchange.request_edit = self.edit.after(exchange.request_edit)
        exchange.response_edit = self.answer_edit.after(exchange.response_edit)

    def _form(self, exchange: Exchange) -> str:
        form = form_of(exchange.field(b"content-type"), exchange.field(b"content-encoding"))
        return TEXT if form == EVENTS else form

    def _refusal(self, exchange: Exchange, form: str) -> Response | None:
        if form and exchange.length > self.max_bytes:
            return refusals.too_large(exchange, self.max_bytes)
        return None if form or self.open else refusals.unscannable(exchange)

    def _plan(self, form: str) -> str:
        """What will become of a body, for `portico explain`."""
        if not form:
            return "the body is of a kind that is not scanned; it goes on, and the upstream is told (on_failure: open)"
        where = "the whole body" if form == TEXT else ", ".join(self.fields)
        then = "is refused with 422" if self.blocks else "goes on, and the upstream is told"
        return (
            f"the body (at most {self.max_bytes} bytes) will be scanned: {where}; "
            f"what is malicious with a confidence from {self.threshold:g} on {then}"
        )

    # -- what a body says

    async def _judged(self, exchange: Exchange, guarded: Guarded, form: str) -> Response | None:
        gathering = exchange.downstream.gather(exchange, self.max_bytes)
        guarded.work = gathering
        if not await gathering:
            return refusals.too_large(exchange, self.max_bytes)
        if not exchange.pending:
            return None  # in chunks, and there was none
        asking = asyncio.ensure_future(self.asker.ask(exchange, REQUEST, form, exchange.pending))
        guarded.work = asking
        try:
            told = await asking
        except ServicesAway:
            if not self.open:
                guarded.request = UNAVAILABLE
                return refusals.unavailable(exchange)
            self._tell(exchange, guarded, UNAVAILABLE, UNAVAILABLE)
            return None
        return self._answer(exchange, guarded, told)

    def _answer(self, exchange: Exchange, guarded: Guarded, told: Told) -> Response | None:
        if told.unreadable:
            return refusals.bad_json(exchange, told.unreadable)
        guarded.of_request = told.judged()
        self._tell(exchange, guarded, told.verdict(), told.value())
        return refusals.blocked(exchange, told) if told.malicious and self.blocks else None

    def _tell(self, exchange: Exchange, guarded: Guarded, verdict: bytes, value: bytes) -> None:
        guarded.request = verdict
        exchange.request_fields += LINE + value


def build(config: dict[str, Any], context: PolicyContext) -> Step:
    """`config`: as `portico.config.policies.guard` compiles it."""
    policy = Guard(config, context)
    return Step("guard", VALIDATE, policy.check, policy.peek, policy.settle)
