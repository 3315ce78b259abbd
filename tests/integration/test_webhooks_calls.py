"""One call of a webhook: what is sent, and that the guard holds at the moment of the call, not of the registration."""

from __future__ import annotations

import ipaddress
import json
from typing import Any, cast

import pytest
from tests.unit.outbound.peers import NameServer, peer, plain, started
from tests.unit.state.stores import run

from portico.errors import Invalid
from portico.identity import webhooks
from portico.outbound import Client, Guard
from portico.services.problems import Refused
from portico.services.webhooks.courier import PAYLOAD, Courier, payload
from portico.services.webhooks.emitter import Emitter
from portico.storage.ids import now
from portico.telemetry.counts import Counts

OWN = ipaddress.ip_network("127.0.0.1/32")
SECRET = b"s" * 32


def emitter(client: Client) -> Emitter:
    nothing = cast(Any, None)
    return Emitter(client, nothing, nothing, nothing)


def test_a_name_that_was_public_at_its_registration_and_is_not_at_the_call() -> None:
    """The name server answers first a public address, then this machine's."""

    async def scene() -> None:
        async with peer(plain(b"reached")) as server:
            with NameServer("93.184.215.14", "127.0.0.1") as names:
                async with started(lookup=names.lookup) as client:
                    url = f"http://rebind.test:{server.port}/"
                    await emitter(client).check(url)
                    assert names.asked == 1
                    called = await Courier(client, Counts()).call(url, "m", b"{}", [SECRET])
                    assert (called.status, called.succeeded) == (None, False)
                    assert called.error == "the address may not be called"
                    with pytest.raises(Refused) as caught:
                        await emitter(client).check(url)
                    assert (caught.value.status_code, caught.value.code) == (422, "webhook_url_refused")
            assert server.connections == 0

    run(scene())


def test_a_redirect_to_the_metadata_service_is_an_answer_like_any_other_failure() -> None:
    async def scene() -> None:
        async with peer(plain(b"inner")) as inner:
            for target in ("http://169.254.169.254/latest/", inner.url):
                away = plain(b"", "307 Temporary Redirect", f"Location: {target}")
                async with peer(away) as server, started(Guard(allow=[OWN])) as client:
                    called = await Courier(client, Counts()).call(server.url, "m", b"{}", [SECRET])
                    assert (called.status, called.succeeded) == (307, False)
                    assert len(server.heads) == 1
            assert inner.connections == 0

    run(scene())


def test_what_is_sent() -> None:
    async def scene() -> None:
        counts = Counts()
        async with (
            peer(plain(b"ok", "202 Accepted", "Retry-After: 7")) as server,
            started(Guard(allow=[OWN])) as client,
        ):
            body = payload("test", {"text": "ä"})
            assert json.loads(body)["data"] == {"text": "ä"}
            called = await Courier(client, counts).call(server.url, "the-id", body, [SECRET, b"t" * 32])
            assert (called.status, called.body, called.succeeded, called.again) == (202, b"ok", True, 7.0)
            head = server.heads[0].decode().lower()
            fields = dict(line.split(": ", 1) for line in server.heads[0].decode().split("\r\n")[1:] if line)
            known = {name.lower(): value for name, value in fields.items()}
            assert known["webhook-id"] == "the-id"
            stamp, signature = known["webhook-timestamp"], known["webhook-signature"]
            for secret in (SECRET, b"t" * 32):
                assert webhooks.verify(secret, "the-id", stamp, signature, body, now().timestamp()) == ""
            assert "content-type: application/json" in head
            assert f"content-length: {len(body)}" in head
        assert ["webhook_attempts", "delivered", 1] in counts.report()["services"]

    run(scene())


def test_a_payload_is_at_most_256_kib() -> None:
    frame = len(payload("test", {"text": ""}))
    assert len(payload("test", {"text": "x" * (PAYLOAD - frame)})) == PAYLOAD
    with pytest.raises(Invalid, match="256 KiB"):
        payload("test", {"text": "x" * (PAYLOAD - frame + 1)})
    with pytest.raises(ValueError):
        payload("test", {"number": float("nan")})
