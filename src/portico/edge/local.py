"""The edge's own answers: health and metrics. They work when the services don't."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any, Final

from portico.edge.exchange import Exchange, Response
from portico.edge.state import EdgeState
from portico.identity.keys import Keys

Ask = Callable[[str], Awaitable[dict[str, Any]]]

JSON: Final = b"\r\nContent-Type: application/json\r\nCache-Control: no-store"
TEXT: Final = b"\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\nCache-Control: no-store"


class Health:
    """`…/live`: this process serves. `…/ready`: both halves do. Else the status, and the halves to whom may know."""

    def __init__(self, state: EdgeState, ask: Ask, keys: Keys, details: bool) -> None:
        self.state = state
        self.ask = ask
        self.keys = keys
        self.details = details

    def answer(self, exchange: Exchange) -> Response | Awaitable[Response | None] | None:
        """200 when well, 503 when not ready."""
        if exchange.match.endswith(b"/live"):
            return Response(200, b'{"status":"ok"}', JSON)
        return self._asked(exchange)

    async def _asked(self, exchange: Exchange) -> Response | None:
        try:
            halves = await self.ask("health")
        except (TimeoutError, ConnectionError):
            halves = {"edge": "ok", "services": "unknown"}
        if self.state.draining:
            halves["edge"] = "draining"
        well = all(half in ("ok", "absent") for half in halves.values())
        body: dict[str, Any] = {"status": "ok" if well else "degraded"}
        if self.details or self._may_know(exchange):
            body["parts"] = halves
        ready = well or not exchange.match.endswith(b"/ready")
        return Response(200 if ready else 503, json.dumps(body).encode(), JSON)

    def _may_know(self, exchange: Exchange) -> bool:
        bearer = exchange.field(b"authorization") or b""
        presented = exchange.field(b"x-api-key") or (bearer[7:] if bearer[:7].lower() == b"bearer " else b"")
        principal = self.keys.find(presented) if presented else None
        return principal is not None and principal.allows("health:read")


class Metrics:
    """The counters of all workers, which the supervisor adds up."""

    def __init__(self, ask: Ask) -> None:
        self.ask = ask

    def answer(self, exchange: Exchange) -> Awaitable[Response | None]:
        """Prometheus text, or 503 when the supervisor doesn't answer."""
        return self._asked(exchange)

    async def _asked(self, exchange: Exchange) -> Response | None:
        try:
            body = await self.ask("metrics")
        except (TimeoutError, ConnectionError):
            return exchange.problem(503, "metrics_unavailable", "the supervisor did not answer", "try again")
        return Response(200, str(body["text"]).encode(), TEXT)
