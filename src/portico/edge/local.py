"""The edge's own answers: health and metrics. They work when the services don't."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import Any, Final

from portico.edge.exchange import Exchange, Response
from portico.edge.http1.names import AUTHORIZATION, COOKIE, X_API_KEY
from portico.edge.policies.auth import Auth
from portico.edge.state import EdgeState

Ask = Callable[[str], Awaitable[dict[str, Any]]]

CREDENTIALS: Final = frozenset([X_API_KEY, AUTHORIZATION, COOKIE])
NOSNIFF: Final = b"\r\nX-Content-Type-Options: nosniff"
JSON: Final = b"\r\nContent-Type: application/json\r\nCache-Control: no-store" + NOSNIFF
TEXT: Final = b"\r\nContent-Type: text/plain; version=0.0.4; charset=utf-8\r\nCache-Control: no-store" + NOSNIFF


class Health:
    """`…/live`: this process serves. `…/ready`: both halves do. Else the status, and the halves to whom may know."""

    def __init__(self, state: EdgeState, ask: Ask, auth: Auth, details: bool) -> None:
        self.state = state
        self.ask = ask
        self.auth = auth
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
        dependencies = halves.pop("dependencies", {})
        if self.state.draining:
            halves["edge"] = "draining"
        well = all(half in ("ok", "absent") for half in halves.values())
        sound = well and all(state["status"] == "ok" for state in dependencies.values())
        body: dict[str, Any] = {"status": "ok" if sound else "degraded"}
        if self.details or await self._may_know(exchange):
            body["parts"] = halves
            body["dependencies"] = dependencies
        ready = well or not exchange.match.endswith(b"/ready")
        return Response(200 if ready else 503, json.dumps(body).encode(), JSON)

    async def _may_know(self, exchange: Exchange) -> bool:
        """Whether credentials were shown, and may see the parts. Wrong ones see what anybody sees."""
        known = exchange.fields.known
        if exchange.peer_certificate is None and not known.keys() & CREDENTIALS:
            return False
        answer = self.auth.check(exchange)
        if answer is not None and not isinstance(answer, Response):
            answer = await answer
        principal = exchange.principal
        return answer is None and principal is not None and principal.allows("health:read")


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
