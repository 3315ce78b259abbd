"""AUTHENTICATE: who calls, by API key, token (JWT), session cookie or client certificate.

What a request shows decides how it is looked at: a key in X-API-Key or as `Authorization: Bearer` (RFC 6750 2.1), a
token as Bearer, on our own paths the session cookie, else the certificate of its connection. What is shown and wrong
is refused, even if something else would do. What is known is answered at once; only what has to be asked waits.
"""

from __future__ import annotations

import hmac
import ipaddress
from collections.abc import Awaitable
from hashlib import sha256
from typing import Any, Final

from portico.contracts import AUTHENTICATE, Key
from portico.edge.callers import Callers
from portico.edge.callers.book import Entry
from portico.edge.callers.certificates import Certificates
from portico.edge.callers.refusals import (
    address_refused,
    certificate_expired,
    certificate_unknown,
    conflict,
    key_unknown,
    missing,
    origin_refused,
    token_refused,
    unavailable,
)
from portico.edge.callers.session import COOKIE_KIND, own_origin, safe, session_of
from portico.edge.context import PolicyContext
from portico.edge.exchange import Exchange, Response, Step
from portico.edge.http1.names import AUTHORIZATION, X_API_KEY
from portico.edge.policies.key_limits import NOTE
from portico.errors import ServicesAway, TokenError
from portico.identity.apikeys import well_formed
from portico.identity.keys import Keys
from portico.identity.principal import Principal
from portico.identity.roles import Roles

SCHEME: Final = b"bearer "
PREFIX: Final = b"pk_"
RECENT: Final = 1024  # accepted keys of the file that are found without hashing them again
CERTIFICATE: Final = -1  # as `exchange.credential`: what was used is no field


class Auth:
    """The policy of one route. `looks` only looks: nothing is asked, counted or remembered."""

    def __init__(
        self, kinds: list[str], keys: Keys, callers: Callers, certificates: Certificates, looks: bool = False
    ) -> None:
        self.takes_keys = "api_key" in kinds
        self.takes_tokens = "jwt" in kinds
        self.takes_certificates = "certificate" in kinds
        self.kinds = kinds
        self.keys = keys
        self.callers = callers
        self.book = callers.book
        self.certificates = certificates
        self.looks = looks
        self.cookie = False  # the session cookie counts
        self.trusted: list[object] = []  # networks of proxies whose X-Forwarded-* tells the origin
        self.recent: dict[bytes, Principal] = {}

    def check(self, exchange: Exchange) -> Response | Awaitable[Response | None] | None:
        known = exchange.fields.known
        presented = known.get(X_API_KEY)
        authorization = known.get(AUTHORIZATION)
        if authorization is None and presented is not None and self.takes_keys:
            principal = self.recent.get(presented)
            if principal is None:
                return self._key(exchange, presented, X_API_KEY)
            exchange.principal = principal
            exchange.credential = X_API_KEY
            return None
        if not self.takes_keys:
            presented = None
            if not self.takes_tokens:
                authorization = None  # what it carries is the upstream's business
        if authorization is None or authorization[:7].lower() != SCHEME:
            return self._other(exchange, presented)
        return self._bearer(exchange, presented, authorization[7:].strip(b" "))

    # -- what the request shows

    def _bearer(
        self, exchange: Exchange, presented: bytes | None, token: bytes
    ) -> Response | Awaitable[Response | None] | None:
        if presented is not None:
            if not hmac.compare_digest(presented, token):
                return conflict(exchange)
            return self._key(exchange, presented, X_API_KEY)
        if not token:
            return missing(exchange, self.kinds)
        principal = self.recent.get(token)
        if principal is not None:
            exchange.principal = principal
            exchange.credential = AUTHORIZATION
            return None
        if self.takes_tokens and (not self.takes_keys or self._like_token(token)):
            return self._token(exchange, token, AUTHORIZATION)
        return self._key(exchange, token, AUTHORIZATION)

    def _other(self, exchange: Exchange, presented: bytes | None) -> Response | Awaitable[Response | None] | None:
        if presented is not None:
            return self._key(exchange, presented, X_API_KEY)
        if self.cookie and self.takes_tokens:
            session = session_of(exchange)
            if session:
                return self._session(exchange, session)
        if self.takes_certificates and exchange.peer_certificate is not None:
            return self._certificate(exchange)
        return missing(exchange, self.kinds)

    def _like_token(self, token: bytes) -> bool:
        """Whether this is to be read as a JWT: it has two dots, and is no key of the file."""
        return token.count(b".") == 2 and not token.startswith(PREFIX) and self.keys.find(token) is None

    # -- keys

    def _key(self, exchange: Exchange, presented: bytes, field: int) -> Response | Awaitable[Response | None] | None:
        entry = self.book.find(presented, exchange.now)
        if entry is not None:
            return self._admit(exchange, entry, field)
        principal = self.keys.find(presented)
        if principal is None:
            return self._stored(exchange, presented, field)
        if not self.looks:
            if len(self.recent) >= RECENT:
                self.recent.clear()
            self.recent[presented] = principal
        exchange.principal = principal
        exchange.credential = field
        return None

    def _stored(self, exchange: Exchange, presented: bytes, field: int) -> Response | Awaitable[Response | None] | None:
        """A key that the file does not have: one of the database's, or nobody's."""
        callers = self.callers
        if not callers.present or self.book.nobody or not well_formed(presented):
            return key_unknown(exchange, self.callers, self.looks)
        digest = sha256(presented).digest()
        entry = callers.known(digest, exchange.now)
        if entry is None:
            return self._not_known(exchange, presented, digest, field)
        if not self.looks:
            self.book.remember(presented, entry)
        return self._admit(exchange, entry, field)

    def _not_known(
        self, exchange: Exchange, presented: bytes, digest: bytes, field: int
    ) -> Response | Awaitable[Response | None]:
        if self.looks and self.book.fresh(exchange.now) and not self.book.may_exist(digest):
            return key_unknown(exchange, self.callers, True)
        return self._asked(exchange, presented, digest, field)

    async def _asked(self, exchange: Exchange, presented: bytes, digest: bytes, field: int) -> Response | None:
        callers = self.callers
        try:
            entry = await callers.key(digest, exchange.now)
        except ServicesAway:
            return unavailable(exchange)
        if entry is None:
            return key_unknown(exchange, callers, self.looks)
        if entry.alive and not self.looks:
            self.book.remember(presented, entry)
        return self._admit(exchange, entry, field)

    def _admit(self, exchange: Exchange, entry: Entry, field: int) -> Response | None:
        if exchange.wall >= entry.expires:
            return key_unknown(exchange, self.callers, self.looks)
        exchange.credential = field
        if not entry.admits(exchange.client):
            return address_refused(exchange)
        if entry.limits:
            exchange.notes[NOTE] = entry.limits
        if self.looks:
            exchange.principal = entry.principal
        else:
            self.book.use(entry, exchange)
        return None

    # -- tokens

    def _session(self, exchange: Exchange, session: bytes) -> Response | Awaitable[Response | None] | None:
        """A browser sends its cookie along with what other sites make it ask for: what changes must come from us."""
        if not safe(exchange) and not own_origin(exchange, self.trusted):
            return origin_refused(exchange)
        return self._token(exchange, session, COOKIE_KIND)

    def _token(self, exchange: Exchange, token: bytes, field: int) -> Response | Awaitable[Response | None] | None:
        tokens = self.callers.tokens
        if self.book.fresh(exchange.now):
            principal = tokens.find(token, exchange.wall)
            if principal is not None:
                if not self.looks:
                    tokens.hits += 1
                exchange.principal = principal
                exchange.credential = field
                return None
            if self.looks and tokens.ready:
                return self._look_at(exchange, token, field)
        return self._verified(exchange, token, field)

    def _look_at(self, exchange: Exchange, token: bytes, field: int) -> Response | None:
        """What verifying the token would lead to."""
        tokens = self.callers.tokens
        try:
            exchange.principal = tokens.principal(tokens.claims(token, exchange.wall))
        except TokenError as error:
            return token_refused(exchange, self.callers, True, error.code, str(error))
        exchange.credential = field
        return None

    async def _verified(self, exchange: Exchange, token: bytes, field: int) -> Response | None:
        try:
            principal = await self.callers.token(token, exchange.now, exchange.wall)
        except ServicesAway:
            return unavailable(exchange)
        except TokenError as error:
            return token_refused(exchange, self.callers, self.looks, error.code, str(error))
        exchange.principal = principal
        exchange.credential = field
        return None

    # -- certificates

    def _certificate(self, exchange: Exchange) -> Response | None:
        certificate = exchange.peer_certificate
        assert certificate is not None
        if 0.0 < certificate.expires <= exchange.wall:  # a connection may outlive it
            return certificate_expired(exchange)
        principal = self.certificates.find(certificate)
        if principal is None:
            return certificate_unknown(exchange)
        exchange.principal = principal
        exchange.credential = CERTIFICATE
        return None


def build(config: dict[str, Any], context: PolicyContext) -> Step:
    """`config`: {"kinds": [api_key, jwt, certificate]}, any of which will do."""
    return Step("auth", AUTHENTICATE, policy(config, context).check, policy(config, context, looks=True).check)


def policy(config: dict[str, Any], context: PolicyContext, looks: bool = False) -> Auth:
    """The behaviour on the context's route; the session cookie counts on our own paths only."""
    held = held_of(context)
    made = Auth(list(config["kinds"]), held.keys, callers_of(context), held.certificates, looks)
    made.cookie = context.route.upstream.startswith("@")
    made.trusted = [ipaddress.ip_network(network) for network in context.snapshot.server.trusted_proxies]
    return made


def callers_of(context: PolicyContext) -> Callers:
    """The callers that the process knows; where nobody provides them, only the file's keys are known."""
    callers = context.shared.get("callers")
    if not isinstance(callers, Callers):
        callers = context.shared["callers"] = Callers()
    return callers


class Held:
    """The keys and certificates of one snapshot, and what they were made from."""

    def __init__(self, context: PolicyContext) -> None:
        snapshot = context.snapshot
        self.source: tuple[Key, ...] = snapshot.keys
        self.identity = snapshot.identity
        self.keys = Keys(snapshot.keys)
        self.certificates = Certificates(snapshot.identity.certificates, Roles(snapshot.identity.roles))


def held_of(context: PolicyContext) -> Held:
    """Made once for all routes of the context's snapshot; what an older one had is let go."""
    held = context.shared.get("keys")
    snapshot = context.snapshot
    if isinstance(held, Held) and held.source is snapshot.keys and held.identity is snapshot.identity:
        return held
    made = context.shared["keys"] = Held(context)
    return made
