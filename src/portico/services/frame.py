"""What surrounds every request of the services: its id, its caller, security fields, the edge's own paths."""

from __future__ import annotations

import hmac
import time
from collections.abc import Callable
from typing import Final

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from portico.identity.principal import Principal, verify
from portico.services import callers
from portico.services.problems import problem
from portico.storage.audit import Origin, acting
from portico.telemetry import logs

POLICY_VIOLATION: Final = 1008  # RFC 6455 7.4.1
INTERNAL: Final = "/_portico"  # what edge and services say to each other
INTERNAL_PROOF: Final = b"portico internal 1"
SECURITY: Final = {
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
    "Referrer-Policy": "no-referrer",
    "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Cache-Control": "no-store",
}

_SECURITY: Final = [(name.lower().encode(), value.encode()) for name, value in SECURITY.items()]
Fields = dict[bytes, bytes]
Proxies = Callable[[], tuple[str, ...]]
Refusal = Callable[[Scope, int], None]


class Frame:
    """ASGI middleware. Puts `request_id` and `principal` (None: anonymous) into `request.state`.

    The principal comes from the edge in X-Portico-Principal, signed with `key` for this request. One that can't be
    verified is refused, not ignored. Paths under /_portico/ exist for the edge only, which proves itself in
    X-Portico-Internal. What is recorded in the audit trail while a request is handled was done by its caller, from the
    address that the trusted `proxies` tell; `refused` is told of every answer from 400 on.
    """

    def __init__(
        self, app: ASGIApp, key: bytes, proxies: Proxies = tuple, refused: Refusal = lambda _scope, _status: None
    ) -> None:
        self._app = app
        self._key = key
        self._proxies = proxies
        self._refused = refused
        self._proof = hmac.digest(key, INTERNAL_PROOF, "sha256").hex().encode()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle one request."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        fields: Fields = dict(reversed(scope["headers"]))  # of a field that comes twice, the first
        request_id = fields.get(b"x-request-id", b"").decode("latin-1")
        signed = fields.get(b"x-portico-principal")
        principal = None if signed is None else self._verify(signed, request_id)
        scope["state"] = {**scope.get("state", {}), "request_id": request_id, "principal": principal}
        refusal = None
        if signed is not None and principal is None:
            detail = "the caller's signed principal can't be verified"
            refusal = problem(request_id, 401, "principal_invalid", detail, "try again")
        elif not self._reachable(scope["path"], fields):
            refusal = problem(request_id, 404)
        if refusal is not None:
            if scope["type"] == "websocket":
                await send({"type": "websocket.close", "code": POLICY_VIOLATION})  # before accepting: a 403
            else:
                await refusal(scope, receive, _Secured(send))
            return
        secured = _Secured(send)
        origin = self._origin(fields, principal, request_id)
        with logs.bound(request_id=request_id), acting(origin):
            try:
                await self._app(scope, receive, secured)
                if secured.status >= 400:
                    self._refused(scope, secured.status)
            except Exception as error:  # answered as a problem already; the server would only log it once more
                logs.get("portico.services").error("unexpected error", path=scope["path"], exc_info=error)

    def _reachable(self, path: str, fields: Fields) -> bool:
        if not (path == INTERNAL or path.startswith(INTERNAL + "/")):
            return True
        return hmac.compare_digest(fields.get(b"x-portico-internal", b""), self._proof)

    def _origin(self, fields: Fields, principal: Principal | None, request_id: str) -> Origin:
        address = callers.seen_address(fields.get(b"x-forwarded-for", b"").decode("latin-1"), self._proxies())
        if principal is None:
            return Origin("anonymous", "", address, request_id)
        return Origin(principal.kind, principal.id, address, request_id)

    def _verify(self, signed: bytes, request_id: str) -> Principal | None:
        return verify(signed, request_id.encode("latin-1"), time.time(), self._key)


class _Secured:
    """Sends on, with the security fields that the answer does not set itself."""

    def __init__(self, send: Send) -> None:
        self._send = send
        self.status = 0  # of the answer, once it has begun

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            fields = message["headers"]
            own = {name.lower() for name, _ in fields}
            message["headers"] = [*fields, *(pair for pair in _SECURITY if pair[0] not in own)]
        await self._send(message)
