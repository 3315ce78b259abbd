"""Signatures of webhooks, as Standard Webhooks 1.0.0 has them (github.com/standard-webhooks): secrets, sign, verify.

A secret is 24 to 64 bytes, written `whsec_` and their base64. Signed is `id.timestamp.body`, with HMAC-SHA256.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import secrets
from collections.abc import Iterable
from typing import Final

PREFIX: Final = "whsec_"
LEAST: Final = 24  # bytes of a secret
MOST: Final = 64
NEW: Final = 32
TOLERANCE: Final = 300.0  # seconds that the sender's clock may be off, or a message on its way
ID: Final = "webhook-id"
TIMESTAMP: Final = "webhook-timestamp"
SIGNATURE: Final = "webhook-signature"


def generate() -> bytes:
    """A new secret."""
    return secrets.token_bytes(NEW)


def write(secret: bytes) -> str:
    """The text of a secret."""
    return PREFIX + base64.b64encode(secret).decode()


def read(text: str) -> bytes:
    """The secret of a text; ValueError says what it must be. A text without the prefix is itself the secret."""
    if text.startswith(PREFIX):
        try:
            secret = base64.b64decode(text.removeprefix(PREFIX), validate=True)
        except (binascii.Error, ValueError):
            raise ValueError(f"must have base64 after {PREFIX}") from None
    else:
        secret = text.encode()
    if not LEAST <= len(secret) <= MOST:
        raise ValueError(f"must have {LEAST} to {MOST} bytes")
    return secret


def sign(secrets: Iterable[bytes], message: str, timestamp: int, body: bytes) -> str:
    """The value of webhook-signature: one signature of each secret, with blanks between. `timestamp`: since 1970."""
    return " ".join(f"v1,{_mac(secret, message, str(timestamp), body)}" for secret in secrets)


def verify(secret: bytes, message: str, timestamp: str, signature: str, body: bytes, now: float) -> str:
    """What is wrong with a message that arrived at `now` (since 1970) with these three fields; "" when nothing is."""
    if not (message and timestamp and signature):
        return "webhook-id, webhook-timestamp or webhook-signature is missing"
    if not (timestamp.isascii() and timestamp.isdigit() and len(timestamp) <= 12):
        return "webhook-timestamp is no number of seconds"
    if abs(now - int(timestamp)) > TOLERANCE:
        return "webhook-timestamp is more than five minutes off"
    expected = f"v1,{_mac(secret, message, timestamp, body)}".encode()
    given = [each.encode() for each in signature.split(" ")[:16]]
    if not any([hmac.compare_digest(expected, each) for each in given]):  # noqa: C419 - all of them, whichever fits
        return "no signature fits"
    return ""


def _mac(secret: bytes, message: str, timestamp: str, body: bytes) -> str:
    signed = f"{message}.{timestamp}.".encode() + body
    return base64.b64encode(hmac.digest(secret, signed, "sha256")).decode()
