"""Signatures of webhooks are those of Standard Webhooks: its own library verifies them, and makes the same."""

from __future__ import annotations

import base64
import time
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks import Webhook, WebhookVerificationError

from portico.identity import webhooks

SECRETS = st.binary(min_size=webhooks.LEAST, max_size=webhooks.MOST)


@given(SECRETS, st.text(max_size=200))
def test_the_library_verifies_what_we_sign_and_signs_the_same(secret: bytes, text: str) -> None:
    body = f'{{"type": "test", "data": {len(text)}}}'.encode()
    stamp = int(time.time())
    signature = webhooks.sign([secret], "msg_1", stamp, body)
    theirs = Webhook(webhooks.write(secret))
    headers = {"webhook-id": "msg_1", "webhook-timestamp": str(stamp), "webhook-signature": signature}
    theirs.verify(body, headers)
    assert theirs.sign("msg_1", datetime.fromtimestamp(stamp, UTC), body.decode()) == signature
    with pytest.raises(WebhookVerificationError):
        theirs.verify(body + b" ", headers)


@given(SECRETS, SECRETS, st.binary(max_size=300))
def test_while_a_secret_is_replaced_either_verifies(old: bytes, new: bytes, body: bytes) -> None:
    signature = webhooks.sign([new, old], "m", 1000, body)
    assert signature.count("v1,") == 2
    for secret in (old, new):
        assert webhooks.verify(secret, "m", "1000", signature, body, 1000.0) == ""


@pytest.mark.parametrize(
    ("changed", "told"),
    [
        ({"message": "n"}, "no signature fits"),
        ({"timestamp": "1001"}, "no signature fits"),
        ({"body": b"{} "}, "no signature fits"),
        ({"secret": bytes(24)}, "no signature fits"),
        ({"signature": "v1," + "A" * 44}, "no signature fits"),
        ({"signature": "v1a,x v2,y é"}, "no signature fits"),
        ({"signature": ""}, "is missing"),
        ({"message": ""}, "is missing"),
        ({"timestamp": "x"}, "no number"),
        ({"timestamp": "²"}, "no number"),
        ({"timestamp": "9" * 13}, "no number"),
        ({"now": 1301.0}, "five minutes"),
        ({"now": 699.0}, "five minutes"),
    ],
)
def test_what_is_not_as_it_was_signed_is_refused(changed: dict[str, object], told: str) -> None:
    secret = b"s" * 24
    arguments: dict[str, object] = {
        "secret": secret, "message": "m", "timestamp": "1000", "signature": webhooks.sign([secret], "m", 1000, b"{}"),
        "body": b"{}", "now": 1000.0,
    }  # fmt: skip
    assert webhooks.verify(**arguments) == ""  # type: ignore[arg-type]
    assert told in webhooks.verify(**{**arguments, **changed})  # type: ignore[arg-type]


@given(SECRETS)
def test_a_secret_is_read_as_it_was_written(secret: bytes) -> None:
    assert webhooks.read(webhooks.write(secret)) == secret


def test_a_secret_without_the_prefix_is_itself_the_secret() -> None:
    assert webhooks.read("twenty-four-characters-or-so") == b"twenty-four-characters-or-so"


@pytest.mark.parametrize("size", [0, 23, 65])
def test_secrets_that_are_too_short_or_too_long(size: int) -> None:
    for text in ("x" * size, webhooks.PREFIX + base64.b64encode(bytes(size)).decode()):
        with pytest.raises(ValueError, match="24 to 64 bytes"):
            webhooks.read(text)
    with pytest.raises(ValueError, match="base64"):
        webhooks.read("whsec_" + "*" * 40)


def test_new_secrets_are_long_enough_and_differ() -> None:
    made = {webhooks.generate() for _ in range(50)}
    assert len(made) == 50
    assert {len(each) for each in made} == {32}
