"""Who may call: roles, tokens and their issuers, certificates."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Role:
    """A role and the permissions that it grants."""

    name: str
    permissions: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Issuer:
    """Whose tokens are accepted beside our own. Keys: `secret` (shared), `jwks` (URL) or `discovery` (OIDC, URL)."""

    name: str
    issuer: str = ""
    audience: str = ""
    algorithms: tuple[str, ...] = ()
    secret: str = ""
    jwks: str = ""
    discovery: str = ""
    leeway: float = 30.0
    roles: tuple[str, ...] = ("user",)  # granted to everyone whom it vouches for
    roles_claim: str = ""  # a claim, dots between levels, that names further roles
    tenant: str = "default"
    tenant_claim: str = ""


@dataclass(frozen=True, slots=True)
class CertificateRule:
    """Whom a verified client certificate stands for; it must match all of `san`, `subject`, `fingerprint` given."""

    principal: str
    san: str = ""
    subject: str = ""
    fingerprint: str = ""
    roles: tuple[str, ...] = ()
    tenant: str = "default"


@dataclass(frozen=True, slots=True)
class Tokens:
    """Tokens of our own: `algorithm` EdDSA or HS256, lifetimes in seconds."""

    issuer: str = "portico"
    algorithm: str = "EdDSA"
    access: float = 3600.0
    refresh: float = 30 * 86400.0
    accept: tuple[Issuer, ...] = ()


@dataclass(frozen=True, slots=True)
class Identity:
    """Who may call: roles (the built-in ones too), issuers of tokens, certificates, and how keys come into being."""

    registration: str = "closed"  # closed | token | open
    stale_for: float = 60.0  # seconds that what is known of callers is believed while the services are away
    tokens: Tokens = Tokens()
    roles: tuple[Role, ...] = ()
    certificates: tuple[CertificateRule, ...] = ()
