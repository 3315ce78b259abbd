"""Tokens (JWT, RFC 7519): whose are believed, what they say, and our own.

Each issuer has its algorithms, its keys and what its tokens must say pinned beforehand; nothing that stands in a token
chooses how the token is verified (RFC 8725). A key is used with algorithms of its own kind only, so that a public key
can't be taken for a shared secret.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final

import jwt
from cryptography.exceptions import UnsupportedAlgorithm
from jwt.algorithms import Algorithm

from portico.errors import TokenError
from portico.identity.jose import ACCESS, Parts, split

FAMILIES: Final = {"HS": "oct", "RS": "RSA", "PS": "RSA", "ES": "EC", "Ed": "OKP"}
CURVES: Final = {"ES256": "P-256", "ES384": "P-384", "ES512": "P-521", "EdDSA": "Ed25519"}
RSA_BITS: Final = 2048  # RFC 7518 3.3
LATEST: Final = 1 << 53  # seconds; what JSON numbers hold exactly
LONGEST: Final = 255  # characters of a subject, a session's id
OPERATORS: Final = "default"  # the tenant whose administrators may name any other
MOST: Final = 100  # roles, permissions, audiences in one token
KEYS: Final = 50  # of one issuer
NAME: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,63}", re.ASCII)


@dataclass(frozen=True, slots=True)
class Claims:
    """What a verified token says. Times are seconds since 1970; `subject` is unique together with `issuer`."""

    issuer: str  # its name in the configuration
    own: bool
    subject: str
    session: str
    tenant: str
    roles: tuple[str, ...]
    permissions: tuple[str, ...]
    issued: int  # 0: not said
    expires: int
    leeway: float

    @property
    def principal(self) -> str:
        """The id of whom it vouches for: `ISSUER:SUBJECT`, or our own person's id."""
        return self.subject if self.own else f"{self.issuer}:{self.subject}"


@dataclass(frozen=True, slots=True)
class VerifyKey:
    """A key, and the algorithms that it may be used with."""

    id: str | None
    algorithms: Mapping[str, tuple[Algorithm, Any]]


class KeySet:
    """An issuer as the edge is told of it: what its tokens must say, and the keys that they are verified with.

    `told` has the form of the changes' `issuers`; keys that can't be used with any of its algorithms are left out.
    """

    def __init__(self, told: Mapping[str, Any]) -> None:
        self.name = str(told["name"])
        self.issuer = str(told["issuer"])
        self.audience = str(told["audience"])
        self.algorithms = frozenset(told["algorithms"])
        self.leeway = float(told["leeway"])
        self.roles = tuple(told["roles"])
        self.roles_claim = str(told["roles_claim"])
        self.tenant = str(told["tenant"])
        self.tenant_claim = str(told["tenant_claim"])
        self.own = bool(told["own"])
        made = (verify_key(jwk, self.algorithms) for jwk in list(told["keys"])[:KEYS])
        self.keys = [key for key in made if key is not None]

    def candidates(self, parts: Parts) -> list[tuple[Algorithm, Any]]:
        """The keys that may have signed: those of the token's kid; without one, the only key there is."""
        fitting = [key for key in self.keys if parts.algorithm in key.algorithms]
        named = [key for key in fitting if key.id is None or key.id == parts.key_id]
        if parts.key_id is None:
            named = fitting if len(fitting) == 1 else []
        return [key.algorithms[parts.algorithm] for key in named]


class Verifier:
    """All issuers whose tokens are accepted."""

    def __init__(self, issuers: Iterable[KeySet]) -> None:
        self.issuers = list(issuers)

    def verify(self, token: bytes, now: float) -> Claims:
        """What `token` says, if an issuer of ours signed it for us and it is valid at `now` (seconds since 1970).

        TokenError otherwise. What is told of a token before its signature is known to be right could be had from the
        token itself.
        """
        parts = split(token)
        told = parts.claims.get("iss")
        asked = [each for each in self.issuers if each.issuer == told or not each.issuer]
        if not asked:
            raise TokenError("token_unknown_issuer", "the token is of an issuer that is not known here")
        failure: TokenError | None = None
        for keys in asked:
            try:
                return verify_with(keys, parts, now)
            except TokenError as error:
                # Of several issuers that it could be of, the one that came furthest tells why.
                failure = error if failure is None or error.rank >= failure.rank else failure
        assert failure is not None
        raise failure


def verify_with(keys: KeySet, parts: Parts, now: float) -> Claims:
    """The claims, verified as a token of this issuer."""
    if parts.algorithm not in keys.algorithms:
        raise TokenError("token_algorithm", "the token is signed with an algorithm that its issuer does not use")
    if keys.own and parts.kind != ACCESS:
        raise TokenError("token_header", f"the token's typ is not {ACCESS}")
    candidates = keys.candidates(parts)
    if not candidates:
        raise TokenError("token_unknown_key", "the token is signed with a key that is not known (yet)", keys.name)
    if not any(_signed(algorithm, key, parts) for algorithm, key in candidates):
        raise TokenError("token_signature", "the token's signature is wrong")
    return claims_of(keys, parts.claims, now)


def claims_of(keys: KeySet, claims: dict[str, Any], now: float) -> Claims:
    """What signed claims say, checked against the issuer's terms and the clock."""
    _for_us(keys, claims)
    issued, expires = _times(claims, now, keys.leeway)
    subject = _text(claims, "sub")
    if not subject:
        raise TokenError("token_claims", "the token has no sub")
    if not keys.own:
        roles = tuple(dict.fromkeys((*keys.roles, *_foreign_roles(keys, claims))))
        return Claims(keys.name, False, subject, "", _tenant(keys, claims), roles, (), issued, expires, keys.leeway)
    return Claims(
        keys.name,
        True,
        subject,
        _text(claims, "sid"),
        _name(claims.get("tenant", keys.tenant), "tenant"),
        _names(claims.get("roles", []), "roles"),
        _names(claims.get("permissions", []), "permissions"),
        issued,
        expires,
        keys.leeway,
    )


def issue(claims: Mapping[str, Any], key: Mapping[str, Any]) -> str:
    """A signed token of our own; `key` is a private JWK with `kid` and `alg` (EdDSA or HS256)."""
    made = jwt.PyJWK(dict(key), algorithm=key["alg"])
    return jwt.encode(dict(claims), made, algorithm=key["alg"], headers={"typ": ACCESS, "kid": key["kid"]})


def verify_key(jwk: Any, algorithms: frozenset[str]) -> VerifyKey | None:
    """The key of a JWK (RFC 7517) for those of `algorithms` that fit it; None when none does, or it can't be read."""
    if not isinstance(jwk, dict) or jwk.get("use", "sig") != "sig" or "verify" not in jwk.get("key_ops", ["verify"]):
        return None
    public = {name: value for name, value in jwk.items() if name not in ("d", "p", "q", "dp", "dq", "qi", "oth")}
    made: dict[str, tuple[Algorithm, Any]] = {}
    for name in algorithms:
        if jwk.get("kty") != FAMILIES[name[:2]] or jwk.get("alg", name) != name:
            continue
        if name in CURVES and jwk.get("crv") != CURVES[name]:
            continue
        try:
            algorithm = jwt.get_algorithm_by_name(name)
            key = algorithm.from_jwk(public)
        except (jwt.PyJWTError, UnsupportedAlgorithm, ValueError, TypeError, KeyError, AttributeError):
            continue
        if _strong(name, key):
            made[name] = algorithm, key
    identifier = jwk.get("kid")
    return VerifyKey(identifier if isinstance(identifier, str) else None, made) if made else None


def _strong(algorithm: str, key: Any) -> bool:
    """Whether the key is as long as the algorithm asks for (RFC 7518 3.2, 3.3)."""
    if algorithm.startswith("HS"):
        return len(key) * 8 >= int(algorithm[2:])
    return algorithm[:2] not in ("RS", "PS") or key.key_size >= RSA_BITS


def _signed(algorithm: Algorithm, key: Any, parts: Parts) -> bool:
    try:
        return algorithm.verify(parts.signed, key, parts.signature)
    except (jwt.PyJWTError, UnsupportedAlgorithm, ValueError, TypeError, OverflowError):
        return False


def _for_us(keys: KeySet, claims: dict[str, Any]) -> None:
    audience = claims.get("aud")
    listed = audience if isinstance(audience, list) else [audience]
    if len(listed) > MOST or not all(isinstance(each, str) for each in listed if each is not None):
        raise TokenError("token_claims", "the token's aud is no text and no list of texts")
    if keys.audience not in listed:
        raise TokenError("token_audience", "the token is meant for someone else")
    if "iss" in claims and not isinstance(claims["iss"], str):
        raise TokenError("token_claims", "the token's iss is no text")


def _times(claims: dict[str, Any], now: float, leeway: float) -> tuple[int, int]:
    """When it was issued (0: not said) and expires."""
    expires = _time(claims, "exp")
    if expires is None:
        raise TokenError("token_claims", "the token has no exp, so it would never expire")
    begins, issued = _time(claims, "nbf"), _time(claims, "iat")
    if now >= expires + leeway:
        raise TokenError("token_expired", "the token has expired")
    if max(begins or 0, issued or 0) > now + leeway:
        raise TokenError("token_not_yet", "the token is not valid yet")
    return issued or 0, expires


def _time(claims: dict[str, Any], name: str) -> int | None:
    value = claims.get(name)
    if value is None and name not in claims:
        return None
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= LATEST:
        raise TokenError("token_claims", f"the token's {name} is no whole number of seconds")
    return value


def _text(claims: dict[str, Any], name: str) -> str:
    value = claims.get(name, "")
    if not isinstance(value, str) or len(value) > LONGEST or not value.isprintable():
        raise TokenError("token_claims", f"the token's {name} is no text of at most {LONGEST} characters")
    return value


def _names(value: Any, claim: str) -> tuple[str, ...]:
    if not isinstance(value, list) or len(value) > MOST:
        raise TokenError("token_claims", f"the token's {claim} is no list of at most {MOST} names")
    for each in value:
        if not isinstance(each, str) or not each.isprintable() or not 0 < len(each) <= LONGEST:
            raise TokenError("token_claims", f"the token's {claim} has what is no name")
    return tuple(value)


def _name(value: Any, claim: str) -> str:
    if not isinstance(value, str) or not NAME.fullmatch(value):
        raise TokenError("token_claims", f"the token's {claim} is no name")
    return value


def _tenant(keys: KeySet, claims: dict[str, Any]) -> str:
    """The tenant of a stranger's token. Where a claim has to tell it, one that does not is refused.

    So is one that claims the operator's own tenant, whose administrators reach all others.
    """
    if not keys.tenant_claim:
        return keys.tenant
    tenant = _name(_at(claims, keys.tenant_claim), keys.tenant_claim)
    if tenant == OPERATORS:
        raise TokenError("token_claims", f"the token's {keys.tenant_claim} is the operator's own tenant")
    return tenant


def _foreign_roles(keys: KeySet, claims: dict[str, Any]) -> tuple[str, ...]:
    """Further roles: a list, or text with blanks between them."""
    value = _at(claims, keys.roles_claim) if keys.roles_claim else None
    if value is None:
        return ()
    return _names(value.split() if isinstance(value, str) else value, keys.roles_claim)


def _at(claims: dict[str, Any], path: str) -> Any:
    """The claim called `path`, or the one that its dots lead to; None when there is none."""
    if path in claims:
        return claims[path]
    value: Any = claims
    for part in path.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return value
