"""The services' part of a trace: one span for each traced request, and the way of the edge's spans to the collector."""

from __future__ import annotations

from typing import Final

from fastapi import APIRouter, Request, Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from portico.services.problems import Refused
from portico.telemetry import logs
from portico.telemetry.tracing import SERVER, Span
from portico.telemetry.tracing.process import Tracing

PATH: Final = "/_portico/spans"
LARGEST: Final = 16 * 1024 * 1024  # bytes of a batch


class Traced:
    """ASGI middleware: a request whose traceparent says that it is sampled becomes a span; the edge has decided that.

    Its path is told as the pattern that it fits, for a path may hold what nobody should read.
    """

    def __init__(self, app: ASGIApp, tracing: Tracing) -> None:
        self._app = app
        self._tracing = tracing

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        span = self._begun(scope) if self._tracing.on else None
        if span is None:
            await self._app(scope, receive, send)
            return
        with span, logs.bound(trace_id=span.trace_id):
            try:
                await self._app(scope, receive, _Watched(send, span))
            finally:
                _named(span, scope)

    def _begun(self, scope: Scope) -> Span | None:
        parent = next((value for name, value in scope["headers"] if name == b"traceparent"), b"")
        method = str(scope.get("method", "GET"))
        attributes = {
            "http.request.method": method,
            "url.scheme": "http",
            "portico.request_id": str(scope["state"]["request_id"]),
        }
        return self._tracing.continued(parent, method, SERVER, attributes)


class _Watched:
    """Sends on, and notes the answer's status."""

    def __init__(self, send: Send, span: Span) -> None:
        self._send = send
        self._span = span

    async def __call__(self, message: Message) -> None:
        kind = message["type"]
        if kind == "http.response.start":
            status = int(message["status"])
            self._span.attributes["http.response.status_code"] = status
            if status >= 500:
                self._span.fail(str(status))
        elif kind == "websocket.accept":
            self._span.attributes["http.response.status_code"] = 101
        await self._send(message)


def _named(span: Span, scope: Scope) -> None:
    route = getattr(scope.get("route"), "path", "")
    if route:
        span.attributes["http.route"] = str(route)
        span.name = f"{span.name} {route}"


def router(tracing: Tracing) -> APIRouter:
    """Takes what the edge has recorded. `Frame` has seen the edge's proof before."""
    made = APIRouter()

    @made.post(PATH, status_code=204, response_class=Response)
    async def spans(request: Request) -> None:
        pieces: list[bytes] = []
        size = 0
        async for piece in request.stream():
            size += len(piece)
            if size > LARGEST:
                raise Refused(413)
            pieces.append(piece)
        try:
            await tracing.take_from_edge(b"".join(pieces))
        except ValueError:
            raise Refused(400) from None

    return made
