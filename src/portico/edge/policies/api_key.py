"""AUTHENTICATE: an API key, in X-API-Key or as `Authorization: Bearer` (RFC 6750 2.1)."""

from __future__ import annotations

import hmac
from typing import Any, Final

from portico.contracts import AUTHENTICATE, Key
from portico.edge.context import PolicyContext
from portico.edge.exchange import Exchange, Response, Step
from portico.edge.http1.names import AUTHORIZATION, X_API_KEY
from portico.identity.keys import Keys
from portico.identity.principal import Principal

CHALLENGE: Final = b'\r\nWWW-Authenticate: Bearer realm="portico"'
SCHEME: Final = b"bearer "
RECENT: Final = 1024  # accepted keys that are found without hashing them again


class ApiKey:
    """The policy of one route."""

    def __init__(self, keys: Keys, remembers: bool = True) -> None:
        self.keys = keys
        self.remembers = remembers
        self.recent: dict[bytes, Principal] = {}

    def check(self, exchange: Exchange) -> Response | None:
        known = exchange.fields.known
        presented = known.get(X_API_KEY)
        credential = X_API_KEY
        authorization = known.get(AUTHORIZATION)
        if authorization is not None and authorization[:7].lower() == SCHEME:
            token = authorization[7:].strip(b" ")
            if presented is None:
                presented = token
                credential = AUTHORIZATION
            elif not hmac.compare_digest(presented, token):
                detail = "X-API-Key and Authorization carry different keys"
                return _refusal(exchange, "credentials_conflict", detail, "send the key once")
        if presented is None:
            hint = "send the key as X-API-Key, or as Authorization: Bearer"
            return _refusal(exchange, "credentials_missing", "this route needs an API key", hint)
        principal = self.recent.get(presented)
        if principal is None:
            principal = self.keys.find(presented)
            if principal is None:
                return _refusal(exchange, "credentials_unknown", "the API key is not known", "check the key")
            if self.remembers:
                if len(self.recent) >= RECENT:
                    self.recent.clear()
                self.recent[presented] = principal
        exchange.principal = principal
        exchange.credential = credential
        return None


def build(config: dict[str, Any], context: PolicyContext) -> Step:
    """`config`: {"header": "x-api-key"}; another name is an error, for only fields that the edge knows stay here."""
    if config.get("header", "x-api-key").lower() != "x-api-key":
        raise ValueError("api_key: the header is x-api-key")
    keys = keys_of(context)
    return Step("api_key", AUTHENTICATE, ApiKey(keys).check, ApiKey(keys, remembers=False).check)


def keys_of(context: PolicyContext) -> Keys:
    """The keys of the context's snapshot, made once for all its routes; those of an older snapshot are let go."""
    held = context.shared.get("keys")
    if isinstance(held, HeldKeys) and held.source is context.snapshot.keys:
        return held.keys
    made = HeldKeys(context.snapshot.keys)
    context.shared["keys"] = made
    return made.keys


class HeldKeys:
    """The keys of one snapshot, and what they were made from."""

    def __init__(self, source: tuple[Key, ...]) -> None:
        self.source = source
        self.keys = Keys(source)


def _refusal(exchange: Exchange, code: str, detail: str, hint: str) -> Response:
    return exchange.problem(401, code, detail, hint, CHALLENGE)
