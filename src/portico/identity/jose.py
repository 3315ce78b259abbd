"""Signed tokens as they are written: JWS compact serialisation (RFC 7515), read strictly.

A token that two readers could read differently is refused here, before any key is looked at: members that come twice,
base64url with padding or spare bits, numbers that JSON does not have, parts that are missing, empty or too many.
"""

from __future__ import annotations

import json
from base64 import urlsafe_b64decode, urlsafe_b64encode
from dataclasses import dataclass
from typing import Any, Final

from portico.errors import TokenError

LARGEST: Final = 8 * 1024  # bytes of a whole token
CONTAINERS: Final = 200  # objects and arrays of one part; nobody's token has more, and nesting costs
ALPHABET: Final = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
KEY_ID: Final = 256  # characters
TYPES: Final = frozenset({"jwt", "at+jwt"})
ACCESS: Final = "at+jwt"  # RFC 9068 2.1: what our own are
# Keys brought along (RFC 7515 4.1.2 to 4.1.8), extensions that must be understood, encryption, nesting (RFC 7519 5.2):
# none of it is needed, and each has been somebody's way in.
REFUSED: Final = (
    "jwk", "jku", "x5u", "x5c", "crit", "b64", "cty", "zip", "enc", "epk", "apu", "apv", "p2s", "p2c", "iv", "tag",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Parts:
    """A token taken apart; nothing of it is believed yet."""

    algorithm: str
    key_id: str | None
    kind: str  # of `typ`, in lower case, without "application/"; "" when it is left out
    claims: dict[str, Any]
    signed: bytes
    signature: bytes


def split(token: bytes) -> Parts:
    """The parts of `token`; TokenError when it is no JWS in compact form that we would ever accept."""
    if not token or len(token) > LARGEST:
        raise TokenError("token_malformed", f"the token is empty, or longer than {LARGEST} bytes")
    parts = token.split(b".")
    if len(parts) != 3:
        raise TokenError("token_malformed", "the token has not the three parts of a signed token")
    header, claims = _object(parts[0], "header"), _object(parts[1], "payload")
    for name in REFUSED:
        if name in header:
            raise TokenError("token_header", f"the token's header has {name!r}, which is not taken here")
    signature = decode(parts[2], "signature")
    if not signature:
        raise TokenError("token_malformed", "the token has no signature")
    return Parts(_algorithm(header), _key_id(header), _kind(header), claims, parts[0] + b"." + parts[1], signature)


def decode(text: bytes, part: str) -> bytes:
    """base64url without padding (RFC 7515 2), and only in the one way that each value is written."""
    if len(text) % 4 == 1 or text.translate(None, ALPHABET):
        raise TokenError("token_malformed", f"the token's {part} is no base64url without padding")
    value = urlsafe_b64decode(text + b"=" * (-len(text) % 4))
    if urlsafe_b64encode(value).rstrip(b"=") != text:
        raise TokenError("token_malformed", f"the token's {part} has bits that stand for nothing")
    return value


def _object(text: bytes, part: str) -> dict[str, Any]:
    raw = decode(text, part)
    if raw.count(b"{") + raw.count(b"[") > CONTAINERS:
        raise TokenError("token_malformed", f"the token's {part} is nested too deeply")
    try:
        value = json.loads(raw.decode(), object_pairs_hook=_once, parse_constant=_never)
    except (ValueError, RecursionError):
        raise TokenError("token_malformed", f"the token's {part} is no JSON that all read alike") from None
    if not isinstance(value, dict):
        raise TokenError("token_malformed", f"the token's {part} is no JSON object")
    return value


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    made = dict(pairs)
    if len(made) != len(pairs):
        raise ValueError("a member comes twice")
    return made


def _never(constant: str) -> Any:
    raise ValueError(f"{constant} is no JSON")


def _algorithm(header: dict[str, Any]) -> str:
    value = header.get("alg")
    if not isinstance(value, str):
        raise TokenError("token_algorithm", "the token's header names no algorithm")
    return value


def _key_id(header: dict[str, Any]) -> str | None:
    value = header.get("kid")
    if value is None and "kid" not in header:
        return None
    if not isinstance(value, str) or not 0 < len(value) <= KEY_ID or not value.isprintable():
        raise TokenError("token_header", f"the token's kid is no text of at most {KEY_ID} characters")
    return value


def _kind(header: dict[str, Any]) -> str:
    value = header.get("typ", "")
    if not isinstance(value, str) or ("typ" in header and not value):
        raise TokenError("token_header", "the token's typ is no text")
    kind = value.lower().removeprefix("application/")
    if kind and kind not in TYPES:
        raise TokenError("token_header", "the token's typ is that of another kind of token")
    return kind
