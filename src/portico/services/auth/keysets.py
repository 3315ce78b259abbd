"""Key sets (RFC 7517): what of someone else's document is taken, and what of our own keys is shown."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Iterable, Mapping
from typing import Any, Final

MOST_KEYS: Final = 50
MOST_BYTES: Final = 256 * 1024
LONGEST_ID: Final = 256  # characters of a kid
SMALLEST_RSA: Final = 2048  # bits (RFC 7518 3.3)
LARGEST_RSA: Final = 8192
CURVES: Final = {"P-256": ("ES256", 32), "P-384": ("ES384", 48), "P-521": ("ES512", 66)}  # and bytes of a coordinate
EDWARDS: Final = {"Ed25519": 32, "Ed448": 57}
PRIVATE: Final = frozenset(["d", "p", "q", "dp", "dq", "qi", "oth", "k"])

Jwk = dict[str, Any]


class KeySetError(Exception):
    """The document is not a key set that can be used; one sentence without anything of its content."""


def shared(secret: str) -> Jwk:
    """A shared secret as a key (RFC 7518 6.4)."""
    return {"kty": "oct", "k": base64.urlsafe_b64encode(secret.encode()).rstrip(b"=").decode()}


def public(key: Mapping[str, Any]) -> Jwk:
    """Our own key as the edge verifies with it: the private members taken away, unless all of it is one secret."""
    hidden = frozenset() if key.get("kty") == "oct" else PRIVATE
    return {name: value for name, value in key.items() if name not in hidden}


def document(text: bytes) -> dict[str, Any]:
    """A JSON object; KeySetError when it is none."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        raise KeySetError("the document is not JSON") from None
    if not isinstance(value, dict):
        raise KeySetError("the document is not a JSON object")
    return value


def parse(text: bytes, algorithms: Iterable[str]) -> list[Jwk]:
    """The keys of a set that verify one of these algorithms, each with its public members only.

    Keys of other kinds and uses are passed over, as are private ones and those that are too weak; KeySetError when
    none is left or there are more than 50.
    """
    keys = document(text).get("keys")
    if not isinstance(keys, list):
        raise KeySetError("the document has no list of keys")
    if len(keys) > MOST_KEYS:
        raise KeySetError(f"the document has more than {MOST_KEYS} keys")
    allowed = frozenset(algorithms)
    found: dict[tuple[str, str], Jwk] = {}
    for key in keys:
        taken = _take(key, allowed) if isinstance(key, dict) else None
        if taken is not None:
            found.setdefault((taken.get("kid", ""), taken["kty"]), taken)
    if not found:
        raise KeySetError("the document has no key that verifies what is allowed")
    return list(found.values())


def _take(key: Jwk, allowed: frozenset[str]) -> Jwk | None:
    """The public members of a key that fits; None when it does not."""
    if not PRIVATE.isdisjoint(key) or key.get("use", "sig") != "sig":
        return None
    operations = key.get("key_ops", ["verify"])
    kid = key.get("kid", "")
    if not isinstance(operations, list) or "verify" not in operations:
        return None
    if not isinstance(kid, str) or len(kid) > LONGEST_ID:
        return None
    try:
        fits, members = _shape(key)
    except (ValueError, TypeError, KeyError):
        return None
    if "alg" in key:
        fits &= {key["alg"]} if isinstance(key["alg"], str) else set()
    if not fits & allowed:
        return None
    named = {name: key[name] for name in ("kid", "alg") if key.get(name)}
    return {"kty": key["kty"], **named, **members}


def _shape(key: Jwk) -> tuple[set[str], Jwk]:
    """The algorithms that a key can verify, and its members; ValueError, TypeError, KeyError when it is no good one."""
    kind = key.get("kty")
    if kind == "RSA":
        _rsa(_number(key["n"]), _number(key["e"]))
        names = {f"{family}{bits}" for family in ("RS", "PS") for bits in (256, 384, 512)}
        return names, {"n": key["n"], "e": key["e"]}
    if kind == "EC":
        algorithm, size = CURVES[key["crv"]]
        _on_curve(key["crv"], _bytes(key["x"], size), _bytes(key["y"], size))
        return {algorithm}, {"crv": key["crv"], "x": key["x"], "y": key["y"]}
    if kind == "OKP":
        _edwards(key["crv"], _bytes(key["x"], EDWARDS[key["crv"]]))
        return {"EdDSA"}, {"crv": key["crv"], "x": key["x"]}
    raise ValueError("a kind of key that is not for signatures")


def _bytes(text: Any, size: int | None = None) -> bytes:
    """Base64url without padding (RFC 7515 2), of exactly `size` bytes when one is given."""
    if not isinstance(text, str) or len(text) > MOST_BYTES:
        raise ValueError("not a text")
    try:
        value = base64.b64decode(text.encode("ascii") + b"=" * (-len(text) % 4), b"-_", validate=True)
    except (binascii.Error, UnicodeEncodeError):
        raise ValueError("not base64url") from None
    if size is not None and len(value) != size:
        raise ValueError("a wrong length")
    return value


def _number(text: Any) -> int:
    return int.from_bytes(_bytes(text), "big")


def _rsa(modulus: int, exponent: int) -> None:
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicNumbers

    if not SMALLEST_RSA <= modulus.bit_length() <= LARGEST_RSA or exponent.bit_length() > 32:
        raise ValueError("too weak, or too large to be meant")
    if modulus % 2 == 0:
        raise ValueError("no product of two large primes")
    RSAPublicNumbers(exponent, modulus).public_key()


def _on_curve(name: str, x: bytes, y: bytes) -> None:
    from cryptography.hazmat.primitives.asymmetric import ec

    curves: dict[str, ec.EllipticCurve] = {"P-256": ec.SECP256R1(), "P-384": ec.SECP384R1(), "P-521": ec.SECP521R1()}
    ec.EllipticCurvePublicKey.from_encoded_point(curves[name], b"\x04" + x + y)


def _edwards(name: str, point: bytes) -> None:
    from cryptography.hazmat.primitives.asymmetric.ed448 import Ed448PublicKey
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    (Ed25519PublicKey if name == "Ed25519" else Ed448PublicKey).from_public_bytes(point)
