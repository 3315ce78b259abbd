"""Whether a message that arrived is the gateway's: Standard Webhooks 1.0.0 (github.com/standard-webhooks)."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import json
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from portico_client._decode import moment
from portico_client.errors import UnexpectedAnswer, WebhookError

TOLERANCE = 300.0  # seconds
MOST = 16  # signatures that are looked at


@dataclass(frozen=True, slots=True, kw_only=True)
class WebhookMessage:
    """A message whose signature is right. `id` is the same in every attempt: by it you know what you have seen."""

    id: str
    type: str
    timestamp: datetime
    data: Any


def verify_webhook(
    payload: bytes | str,
    headers: Mapping[str, str],
    secret: str | Iterable[str],
    *,
    tolerance: float = TOLERANCE,
) -> WebhookMessage:
    """The message, when one of its signatures was made with `secret` (or one of several) and it is recent.

    `payload` is the body as it came, before any JSON reader. `headers` are those of the request, in any case.
    `tolerance` is how many seconds the timestamp may be off, either way. Raises WebhookError for a message that can't
    be trusted, and ValueError for a secret that is none.
    """
    body = payload.encode() if isinstance(payload, str) else payload
    secrets = [_key(each) for each in ([secret] if isinstance(secret, str) else secret)]
    if not secrets:
        raise ValueError("there is no secret to verify with")
    message, stamp, given = _fields(headers)
    _recent(stamp, tolerance)
    signed = f"{message}.{stamp}.".encode() + body
    signatures = [each.encode() for each in given.split(" ")[:MOST]]
    fits = False
    for key in secrets:
        expected = b"v1," + base64.b64encode(hmac.digest(key, signed, hashlib.sha256))
        for each in signatures:  # all of them, whichever fits: how long this takes tells nothing
            fits |= hmac.compare_digest(expected, each)
    if not fits:
        raise WebhookError("no signature fits")
    return _message(message, body)


def _fields(headers: Mapping[str, str]) -> tuple[str, str, str]:
    found = {name.lower(): value for name, value in headers.items()}
    message, stamp, given = (found.get(f"webhook-{name}", "") for name in ("id", "timestamp", "signature"))
    if not (message and stamp and given):
        raise WebhookError("webhook-id, webhook-timestamp or webhook-signature is missing")
    return message, stamp, given


def _recent(stamp: str, tolerance: float) -> None:
    if not (stamp.isascii() and stamp.isdigit() and len(stamp) <= 12):
        raise WebhookError("webhook-timestamp is no number of seconds")
    if abs(time.time() - int(stamp)) > tolerance:
        raise WebhookError(f"webhook-timestamp is more than {tolerance:g} seconds off")


def _message(message: str, body: bytes) -> WebhookMessage:
    try:
        value = json.loads(body)
        return WebhookMessage(
            id=message, type=str(value["type"]), timestamp=moment(value["timestamp"]), data=value["data"]
        )
    except (ValueError, TypeError, KeyError, RecursionError, UnexpectedAnswer):
        raise WebhookError("the body is not a message of this form") from None


def _key(text: str) -> bytes:
    try:
        key = base64.b64decode(text[6:], validate=True) if text.startswith("whsec_") else text.encode()
    except (binascii.Error, ValueError):
        raise ValueError("a secret must have base64 after whsec_") from None
    if not 24 <= len(key) <= 64:
        raise ValueError("a secret must have 24 to 64 bytes")
    return key
