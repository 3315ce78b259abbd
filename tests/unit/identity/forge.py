"""Makes tokens, right ones and all kinds of wrong ones, from their parts."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
from typing import Any

import jwt
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature

NOW = 1_700_000_000
SECRET = b"a shared secret of more than 32 bytes, for tests"
RSA_KEY = rsa.generate_private_key(65537, 2048)
OTHER_RSA = rsa.generate_private_key(65537, 2048)
EC_KEY = ec.generate_private_key(ec.SECP256R1())
ED_KEY = ed25519.Ed25519PrivateKey.generate()
OTHER_ED = ed25519.Ed25519PrivateKey.generate()


def b64(data: bytes) -> bytes:
    return base64.urlsafe_b64encode(data).rstrip(b"=")


def text(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def rsa_jwk(key: rsa.RSAPrivateKey, kid: str, **more: Any) -> dict[str, Any]:
    return {**json.loads(jwt.algorithms.RSAAlgorithm.to_jwk(key.public_key())), "kid": kid, **more}


def oct_jwk(secret: bytes, **more: Any) -> dict[str, Any]:
    return {"kty": "oct", "k": b64(secret).decode(), **more}


EC_JWK = {**json.loads(jwt.algorithms.ECAlgorithm.to_jwk(EC_KEY.public_key())), "kid": "ec-1"}
ED_JWK = {**json.loads(jwt.algorithms.OKPAlgorithm.to_jwk(ED_KEY.public_key())), "kid": "own-1"}
ED_PRIVATE = {**json.loads(jwt.algorithms.OKPAlgorithm.to_jwk(ED_KEY)), "kid": "own-1", "alg": "EdDSA"}
RSA_JWK = rsa_jwk(RSA_KEY, "rsa-1")
RSA_PEM = RSA_KEY.public_key().public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)
RSA_DER = RSA_KEY.public_key().public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
EC_POINT = EC_KEY.public_key().public_bytes(serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint)
ED_RAW = ED_KEY.public_key().public_bytes(serialization.Encoding.Raw, serialization.PublicFormat.Raw)

OWN = "https://portico.example"
CORP = "https://id.corp.example"
BASE = "https://base.example"
TEMPLATE: dict[str, Any] = {
    "audience": "portico", "leeway": 30.0, "roles": ["user"], "roles_claim": "", "tenant": "default",
    "tenant_claim": "", "own": False,
}  # fmt: skip
ISSUERS = [
    {**TEMPLATE, "name": "portico", "issuer": OWN, "algorithms": ["EdDSA"], "own": True, "keys": [ED_JWK]},
    {
        **TEMPLATE, "name": "corp", "issuer": CORP, "algorithms": ["RS256", "PS256", "ES256"],
        "roles_claim": "realm.roles", "tenant_claim": "org", "keys": [RSA_JWK, EC_JWK],
    },
    {**TEMPLATE, "name": "base", "issuer": BASE, "algorithms": ["HS256"], "keys": [oct_jwk(SECRET)]},
]  # fmt: skip


def signature(algorithm: str, signed: bytes, key: Any = None) -> bytes:
    """A right signature."""
    if algorithm == "HS256":
        return hmac.digest(key or SECRET, signed, "sha256")
    if algorithm == "RS256":
        return bytes((key or RSA_KEY).sign(signed, padding.PKCS1v15(), hashes.SHA256()))
    if algorithm == "PS256":
        pss = padding.PSS(padding.MGF1(hashes.SHA256()), 32)
        return bytes((key or RSA_KEY).sign(signed, pss, hashes.SHA256()))
    if algorithm == "ES256":
        r, s = decode_dss_signature((key or EC_KEY).sign(signed, ec.ECDSA(hashes.SHA256())))
        return r.to_bytes(32, "big") + s.to_bytes(32, "big")
    return bytes((key or ED_KEY).sign(signed))


def own_claims(**more: Any) -> dict[str, Any]:
    return {
        "iss": OWN, "aud": "portico", "sub": "person-1", "sid": "session-1", "jti": "j", "iat": NOW - 10,
        "exp": NOW + 600, "roles": ["admin"], "permissions": ["extra:thing"], "tenant": "acme", **more,
    }  # fmt: skip


def corp_claims(**more: Any) -> dict[str, Any]:
    return {
        "iss": CORP, "aud": ["portico", "other"], "sub": "ada", "iat": NOW - 10, "nbf": NOW - 10, "exp": NOW + 600,
        "realm": {"roles": ["analyst"]}, "org": "blue", **more,
    }  # fmt: skip


def base_claims(**more: Any) -> dict[str, Any]:
    return {"iss": BASE, "aud": "portico", "sub": "bob", "exp": NOW + 600, **more}


KINDS: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "EdDSA": ({"alg": "EdDSA", "typ": "at+jwt", "kid": "own-1"}, own_claims()),
    "RS256": ({"alg": "RS256", "typ": "JWT", "kid": "rsa-1"}, corp_claims()),
    "PS256": ({"alg": "PS256", "kid": "rsa-1"}, corp_claims()),
    "ES256": ({"alg": "ES256", "typ": "jwt", "kid": "ec-1"}, corp_claims()),
    "HS256": ({"alg": "HS256", "typ": "JWT"}, base_claims()),
}
GONE = object()  # as a changed member: left out


def changed(values: dict[str, Any], more: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in {**values, **more}.items() if value is not GONE}


def token(
    algorithm: str = "EdDSA",
    header: dict[str, Any] | None = None,
    claims: dict[str, Any] | None = None,
    key: Any = None,
    raw_header: bytes | None = None,
    raw_claims: bytes | None = None,
    sign: str | None = None,
) -> bytes:
    """A token, signed as `sign` (or `algorithm`) does it; `header` and `claims` change those of a good one."""
    usual, says = KINDS[algorithm]
    first = raw_header if raw_header is not None else text(changed(usual, header or {}))
    second = raw_claims if raw_claims is not None else text(changed(says, claims or {}))
    signed = b64(first) + b"." + b64(second)
    return signed + b"." + b64(signature(sign or algorithm, signed, key))


def resigned(good: bytes, made: bytes) -> bytes:
    """A token with another signature."""
    return good.rpartition(b".")[0] + b"." + b64(made)


def thumb(data: bytes) -> str:
    return b64(hashlib.sha256(data).digest()).decode()
