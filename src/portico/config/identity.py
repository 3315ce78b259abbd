"""`registration`, `tokens`, `roles`, `certificates`, `identity`: who calls, and what they may do."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Final

from pydantic import Field

from portico import contracts
from portico.config.base import Named, Several, Strict
from portico.config.grammar import Permission
from portico.config.scalars import Duration, Name, Parse, PositiveDuration, Text, choice, pattern
from portico.config.substitute import Finding

SYMMETRIC: Final = ("HS256", "HS384", "HS512")
ASYMMETRIC: Final = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "EdDSA")
SHORTEST_SECRET: Final = 32  # bytes, of HS256 (RFC 7518 3.2)
Algorithm = Annotated[str, choice(*SYMMETRIC, *ASYMMETRIC)]
BUILT_IN: Final = {
    "admin": ("*",),
    "operator": (
        "health:read",
        "metrics:read",
        "keys:*",
        "users:read",
        "sessions:*",
        "audit:read",
        "jobs:*",
        "stats:read",
        "usage:read",
        "config:read",
    ),
    "reviewer": ("profile:*", "sessions:own", "reviews:*"),
    "user": ("profile:*", "sessions:own", "keys:own", "detect:use"),
    "viewer": ("profile:read", "health:read", "stats:read"),
}


def _url(value: Any) -> str:
    if not isinstance(value, str) or not value.startswith(("https://", "http://")):
        raise ValueError("must be an address that begins with https:// or http://")
    return value


Url = Annotated[str, Parse(_url, {"type": "string"}, text=True)]


class Accept(Strict):
    """An issuer whose tokens are accepted: by a shared `secret`, by the keys at `jwks`, or by OIDC `discovery`."""

    name: Name = Field(description="Its name in logs and principals")
    preset: Annotated[str, choice("supabase", "oidc")] | None = Field(
        default=None, description="supabase: HS256 with the project's secret, or jwks; oidc: discovery at the issuer"
    )
    issuer: Text | None = Field(default=None, description="What iss must be; any when left out and a secret is shared")
    audience: Text | None = Field(default=None, description="What aud must be or contain")
    algorithms: Several[Algorithm] = Field(
        default_factory=list, description="Allowed algorithms; HS256 with a secret, RS256 and ES256 otherwise"
    )
    secret: Text | None = Field(default=None, description="Shared secret of HS256, at least 32 bytes")
    jwks: Url | None = Field(default=None, description="Where its public keys are")
    leeway: Duration = Field(
        default=30.0, description="How far clocks may be apart", json_schema_extra={"default": "30s"}
    )
    roles: Several[Name] = Field(
        default_factory=lambda: ["user"],
        description="Roles of everyone it vouches for",
        json_schema_extra={"default": ["user"]},
    )
    roles_claim: Text | None = Field(default=None, description="Claim with further roles, such as app_metadata.roles")
    tenant: Name = Field(default="default", description="Tenant of everyone it vouches for")
    tenant_claim: Text | None = Field(default=None, description="Claim with the tenant, instead of tenant")

    def check(self) -> Iterator[Finding]:
        if self.secret is not None and len(self.secret.encode()) < SHORTEST_SECRET:
            yield ("secret",), f"must have at least {SHORTEST_SECRET} bytes"
        if self.preset == "oidc" and (self.issuer is None or not self.issuer.startswith(("https://", "http://"))):
            yield ("issuer",), "must be the provider's address: preset oidc finds its keys there"
        if self.preset == "oidc" and (self.secret is not None or self.jwks is not None):
            yield ("preset",), "oidc finds the keys at the issuer; leave secret and jwks out, or the preset"
        elif self.preset != "oidc" and (self.secret is None) == (self.jwks is None):
            yield (), "needs either secret or jwks"
        if self.jwks is not None and self.issuer is None:
            yield ("issuer",), "is needed with jwks: whose tokens these keys sign"
        if self.audience is None:
            yield ("audience",), "is needed: a token for someone else must not do here"
        wrong = ASYMMETRIC if self.secret is not None else SYMMETRIC
        for index, algorithm in enumerate(self.algorithms):
            if algorithm in wrong:
                kind = "a secret is shared" if self.secret is not None else "keys are public"
                yield ("algorithms", index), f"can't be: {kind}"

    def plain(self) -> contracts.Issuer:
        defaults = ("HS256",) if self.secret is not None else ("RS256", "ES256")
        discovery = self.issuer if self.preset == "oidc" and self.issuer else ""
        return contracts.Issuer(
            self.name,
            self.issuer or "",
            self.audience or "",
            tuple(self.algorithms) or defaults,
            self.secret or "",
            self.jwks or "",
            discovery,
            self.leeway,
            tuple(self.roles),
            self.roles_claim or "",
            self.tenant,
            self.tenant_claim or "",
        )


class Lifetime(Strict):
    """How long tokens of our own are valid."""

    access: PositiveDuration = Field(
        default=3600.0, description="Of an access token", json_schema_extra={"default": "1h"}
    )
    refresh: PositiveDuration = Field(
        default=30 * 86400.0, description="Of a session", json_schema_extra={"default": "30d"}
    )


class Tokens(Strict):
    """Tokens (JWT): our own, and whose else are accepted."""

    issuer: Text = Field(default="portico", description="iss and aud of our own tokens")
    algorithm: Annotated[str, choice("EdDSA", "HS256")] = Field(
        default="EdDSA", description="Signature of our own tokens"
    )
    lifetime: Lifetime = Field(default_factory=Lifetime, description="How long they are valid")
    accept: Several[Accept] = Field(default_factory=list, description="Other issuers")

    def check(self) -> Iterator[Finding]:
        for index, entry in enumerate(self.accept):
            if any(other.name == entry.name for other in self.accept[:index]):
                yield ("accept", index, "name"), "is the name of an issuer above"
            if entry.issuer == self.issuer:
                yield ("accept", index, "issuer"), "is tokens.issuer, our own"

    def plain(self) -> contracts.Tokens:
        lifetime = self.lifetime
        accept = tuple(entry.plain() for entry in self.accept)
        return contracts.Tokens(self.issuer, self.algorithm, lifetime.access, lifetime.refresh, accept)


class Match(Strict):
    """What a client certificate must have; all that is given."""

    san: Text | None = Field(default=None, description="An alternative name: a DNS name, address, e-mail or URI")
    subject: Text | None = Field(default=None, description="The subject, as RFC 4514 writes it")
    fingerprint: Annotated[str, pattern("[0-9a-fA-F:]{64,95}", "the certificate's SHA-256 as hex digits")] | None = (
        Field(default=None, description="SHA-256 of the certificate, in hex")
    )

    def check(self) -> Iterator[Finding]:
        if self.san is None and self.subject is None and self.fingerprint is None:
            yield (), "needs san, subject or fingerprint"


class Certificate(Strict):
    """Whom a client certificate stands for."""

    match: Match = Field(description="What the certificate must have")
    principal: Name = Field(description="Whom it stands for")
    roles: Several[Name] = Field(default_factory=list, description="Roles of that caller")
    tenant: Name = Field(default="default", description="Tenant of that caller")

    def plain(self) -> contracts.CertificateRule:
        match = self.match
        fingerprint = (match.fingerprint or "").replace(":", "").lower()
        roles = tuple(self.roles)
        return contracts.CertificateRule(
            self.principal, match.san or "", match.subject or "", fingerprint, roles, self.tenant
        )


class Identity(Strict):
    """What the edge believes of callers while it can't ask."""

    stale_for: Duration = Field(
        default=60.0,
        description="Time that known callers are believed while the services are away",
        json_schema_extra={"default": "60s"},
    )


Registration = Annotated[str, choice("closed", "token", "open")]
Roles = Named[Name, Several[Permission]]


def plain(
    registration: str,
    tokens: Tokens,
    roles: dict[str, list[str]],
    certificates: list[Certificate],
    identity: Identity,
) -> contracts.Identity:
    """All of it as the snapshot has it; roles of the file replace built-in ones of the same name."""
    granted = {**BUILT_IN, **{name: tuple(permissions) for name, permissions in roles.items()}}
    return contracts.Identity(
        registration,
        identity.stale_for,
        tokens.plain(),
        tuple(contracts.Role(name, permissions) for name, permissions in granted.items()),
        tuple(each.plain() for each in certificates),
    )
