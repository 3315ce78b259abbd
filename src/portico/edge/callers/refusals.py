"""How credentials are refused: with a code, a sentence, a hint, and the challenge of RFC 6750 3."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from portico.edge.exchange import Exchange, Response

if TYPE_CHECKING:
    from portico.edge.callers.callers import Callers

CHALLENGE: Final = b'\r\nWWW-Authenticate: Bearer realm="portico"'
GUESSES: Final = frozenset({"token_malformed", "token_header", "token_algorithm", "token_signature"})
WHAT: Final = {"api_key": "an API key", "jwt": "a token", "certificate": "a client certificate"}
HOW: Final = {
    "api_key": "send the key as X-API-Key, or as Authorization: Bearer",
    "jwt": "send the token as Authorization: Bearer",
    "certificate": "connect with a client certificate that the operator has named",
}
CURES: Final = {
    "token_expired": "get a new token, by /api/v1/auth/refresh or from its issuer",
    "token_not_yet": "try again later; the clocks may be apart",
    "token_revoked": "log in again",
    "token_unknown_key": "try again in some seconds: the issuer's keys are being looked up",
    "token_audience": "get a token whose aud is this gateway's; tokens.accept says which",
    "token_unknown_issuer": "use a token of this gateway, or ask the operator to accept its issuer",
}


def missing(exchange: Exchange, kinds: list[str]) -> Response:
    """Nothing was shown that this route takes."""
    detail = "this route needs " + " or ".join([WHAT[kind] for kind in kinds])
    return exchange.problem(401, "credentials_missing", detail, "; or ".join([HOW[kind] for kind in kinds]), CHALLENGE)


def conflict(exchange: Exchange) -> Response:
    """Two credentials were shown, and they differ."""
    detail = "X-API-Key and Authorization carry different credentials"
    return invalid(exchange, "credentials_conflict", detail, "send one of them")


def key_unknown(exchange: Exchange, callers: Callers, looks: bool) -> Response:
    """Nobody has this key: it never was one, or it is none any more. Which of the two is nobody's business."""
    hint = "check the key; it may have been revoked, or have expired"
    return counted(exchange, callers, looks, "credentials_unknown", "the API key is not known", hint)


def token_refused(exchange: Exchange, callers: Callers, looks: bool, code: str, detail: str) -> Response:
    """The token is not accepted. Only what looks like guessing is counted: others were good once, or elsewhere."""
    hint = CURES.get(code, "get a new token; a token for this gateway is signed by an issuer that it knows")
    if code in GUESSES:
        return counted(exchange, callers, looks, code, detail, hint)
    if not looks:
        callers.refused += 1
    return invalid(exchange, code, detail, hint)


def certificate_unknown(exchange: Exchange) -> Response:
    """The certificate is valid, but stands for nobody."""
    hint = "use a certificate that the operator has named under certificates"
    return invalid(exchange, "credentials_unknown", "the client certificate stands for nobody here", hint)


def certificate_expired(exchange: Exchange) -> Response:
    """The certificate was valid when the connection began."""
    hint = "connect again with a new certificate"
    return invalid(exchange, "credentials_expired", "the client certificate has expired", hint)


def address_refused(exchange: Exchange) -> Response:
    """The key is right, but not from here."""
    hint = "call from one of the key's networks, or ask for a key that has this one"
    return exchange.problem(403, "address_not_allowed", "the key may not be used from the client's address", hint)


def origin_refused(exchange: Exchange) -> Response:
    """Another site made the browser send the session along."""
    hint = "send Origin as browsers do, from a page of this gateway; programs use Authorization: Bearer"
    return exchange.problem(403, "origin_refused", "the session cookie came without this gateway's own Origin", hint)


def unavailable(exchange: Exchange) -> Response:
    """Whether the credential is right can't be found out now."""
    detail = "the services that know the callers can't be asked at the moment"
    hint = "try again after Retry-After seconds"
    return exchange.problem(503, "identity_unavailable", detail, hint, b"\r\nRetry-After: 1")


def counted(exchange: Exchange, callers: Callers, looks: bool, code: str, detail: str, hint: str) -> Response:
    """A refusal that counts against the client's address; 429 for the rest of a minute with too many of them."""
    wait = callers.failures.wait(exchange.client, exchange.now)
    if not looks:
        callers.refused += 1
        if not wait:
            callers.failures.failed(exchange.client, exchange.now)
    return slowed(exchange, wait) if wait else invalid(exchange, code, detail, hint)


def slowed(exchange: Exchange, wait: int) -> Response:
    """Too many wrong credentials came from this address (RFC 6585 4)."""
    detail = "too many wrong credentials came from this address"
    hint = f"check the credentials before trying again in {wait} s; right ones are still taken"
    return exchange.problem(429, "too_many_failures", detail, hint, b"\r\nRetry-After: %d" % wait)


def invalid(exchange: Exchange, code: str, detail: str, hint: str) -> Response:
    """401 with `invalid_token`, RFC 6750's word for any credential that was shown and is wrong."""
    description = detail.replace("\\", "").replace('"', "'").encode("ascii", "replace")
    fields = CHALLENGE + b', error="invalid_token", error_description="' + description + b'"'
    return exchange.problem(401, code, detail, hint, fields)
