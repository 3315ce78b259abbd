"""Tokens at the edge: verified once, remembered for a while, refused within a second of being revoked."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

import pytest
from tests.unit.edge.callers.conftest import Desk
from tests.unit.edge.callers.peer import wanted
from tests.unit.identity import forge

from portico.edge.callers import tokens as module
from portico.edge.callers.tokens import Accepted, Revoked
from portico.identity.tokens import Claims

Beside = Callable[..., None]
JWT = ("api_key", "jwt")


def bearer(token: bytes) -> dict[str, Any]:
    return {"block": b"\r\nAuthorization: Bearer " + token}


def own(**more: Any) -> dict[str, Any]:
    """A fresh token of ours, as the fields of a request."""
    now = int(time.time())
    return bearer(forge.token(claims={"iat": now, "exp": now + 600, **more}))


def corp(**more: Any) -> dict[str, Any]:
    now = int(time.time())
    return bearer(forge.token("RS256", claims={"iat": now, "nbf": now, "exp": now + 600, **more}))


def begun(test: Callable[[Desk], Any]) -> Callable[[Desk], Any]:
    """The test with issuers that were told."""

    async def live(desk: Desk) -> None:
        desk.peer.issuers = forge.ISSUERS
        await desk.begin()
        await test(desk)

    return live


def test_a_token_makes_the_principal(beside: Beside) -> None:
    async def test(desk: Desk) -> None:
        principal = (await desk.ask(**own())).principal
        assert principal is not None
        assert (principal.id, principal.kind, principal.tenant) == ("person-1", "person", "acme")
        assert (principal.roles, principal.session) == (("admin",), "session-1")
        assert principal.permissions == ("extra:thing", "*")
        stranger = (await desk.ask(**corp())).principal
        assert stranger is not None
        assert (stranger.id, stranger.tenant, stranger.roles) == ("corp:ada", "blue", ("user", "analyst"))
        assert stranger.allows("users:write")
        assert not stranger.allows("keys:read")

    beside(begun(test), JWT, begin=False)


def test_it_is_verified_once_and_counted(beside: Beside) -> None:
    async def test(desk: Desk) -> None:
        token = own()
        for _ in range(5):
            assert await desk.code(**token) == ""
        counts = desk.callers.counts()
        assert (counts["token_cache_hits"], counts["token_cache_misses"]) == (4, 1)

    beside(begun(test), JWT, begin=False)


@pytest.mark.parametrize(
    ("more", "code"),
    [
        ({"exp": 1}, "token_expired"),
        ({"aud": "other"}, "token_audience"),
        ({"iss": "x"}, "token_unknown_issuer"),
        ({"nbf": 2**40}, "token_not_yet"),
    ],
)
def test_it_is_refused_with_its_code(beside: Beside, more: dict[str, Any], code: str) -> None:
    async def test(desk: Desk) -> None:
        for _ in range(2):
            answer = (await desk.ask(**own(**more))).notes["answer"]
            assert (answer.status, answer.code) == (401, code)
            assert b'error="invalid_token", error_description="the token' in answer.fields

    beside(begun(test), JWT, begin=False)


def test_it_is_never_remembered_past_its_end(beside: Beside) -> None:
    async def test(desk: Desk) -> None:
        token = own(exp=int(time.time()) + 2)
        desk.peer.issuers = [{**each, "leeway": 0.0} for each in forge.ISSUERS]
        desk.peer.tell({"type": "issuers", "issuers": desk.peer.issuers})
        await wanted(lambda: desk.callers.tokens.told == desk.peer.issuers)
        assert await desk.code(**token) == ""
        (accepted,) = desk.callers.tokens.cache.values()
        assert accepted.until == accepted.claims.expires
        await wanted(lambda: time.time() >= accepted.until)
        assert await desk.code(**token) == "token_expired"

    beside(begun(test), JWT, begin=False)


def test_it_is_remembered_for_half_an_hour_at_most_and_not_too_many(beside: Beside, monkeypatch: Any) -> None:
    async def test(desk: Desk) -> None:
        monkeypatch.setattr(module, "CACHED", 5)
        for number in range(8):
            assert await desk.code(**own(jti=str(number), exp=int(time.time()) + 10**6)) == ""
        cache = desk.callers.tokens.cache
        assert len(cache) == 5
        assert all(accepted.until <= time.time() + 1800 for accepted in cache.values())

    beside(begun(test), JWT, begin=False)


@pytest.mark.parametrize(
    "told",
    [{"sessions": {"session-1": 2**40}}, {"subjects": {"person-1": time.time() + 3600}}],
    ids=["logout", "disabled"],
)
def test_what_is_revoked_is_refused_within_a_second(beside: Beside, told: dict[str, Any]) -> None:
    async def test(desk: Desk) -> None:
        token, fresh, other = own(), own(jti="never seen"), own(sid="session-2", sub="person-2")
        assert [await desk.code(**token), await desk.code(**other)] == ["", ""]
        began = time.monotonic()
        desk.peer.tell({"type": "revoked", **told})
        desk.peer.tell({"type": "beat", "clock": time.monotonic()})
        await wanted(lambda: desk.callers.tokens.revoked.sessions or desk.callers.tokens.revoked.subjects)
        assert [await desk.code(**token), await desk.code(**fresh)] == ["token_revoked", "token_revoked"]
        assert await desk.code(**other) == ""
        assert time.monotonic() - began < 1.0

    beside(begun(test), JWT, begin=False)


def test_a_person_s_tokens_of_after_count(beside: Beside) -> None:
    async def test(desk: Desk) -> None:
        now = int(time.time())
        desk.peer.tell({"type": "revoked", "subjects": {"person-1": now - 5}})
        await wanted(lambda: desk.callers.tokens.revoked.subjects)
        assert await desk.code(**own(iat=now - 6)) == "token_revoked"
        assert await desk.code(**own(iat=now - 4)) == ""
        assert await desk.code(**own(iat=forge.GONE)) == "token_revoked"
        assert await desk.code(**corp(sub="person-1", iat=now - 6)) == ""  # another issuer's person

    beside(begun(test), JWT, begin=False)


def test_what_was_revoked_is_told_whole_at_the_beginning_of_a_stream(beside: Beside) -> None:
    async def test(desk: Desk) -> None:
        desk.peer.tell({"type": "revoked", "sessions": {"old": 2**40}})
        await wanted(lambda: desk.callers.tokens.revoked.sessions)
        desk.peer.revoked = {"sessions": {"session-1": 2**40}, "subjects": {}}
        desk.callers.renew()
        await wanted(lambda: "old" not in desk.callers.tokens.revoked.sessions)
        assert await desk.code(**own()) == "token_revoked"
        assert await desk.code(**own(sid="old")) == ""

    beside(begun(test), JWT, begin=False)


def test_roles_grant_what_the_configuration_of_now_says(beside: Beside) -> None:
    async def test(desk: Desk) -> None:
        token = own(roles=["user"], permissions=[])
        asked = await desk.ask(**token)
        assert asked.principal is not None
        assert asked.principal.permissions == ("profile:read", "users:*")
        role = desk.identity.roles[0].__class__("user", ("only:this",))
        desk.callers.configure(desk.identity.__class__(roles=(role,)))
        asked = await desk.ask(**token)
        assert asked.principal is not None
        assert asked.principal.permissions == ("only:this",)

    beside(begun(test), JWT, begin=False)


def test_an_unknown_key_is_wished_for_and_works_when_it_comes(beside: Beside) -> None:
    async def test(desk: Desk) -> None:
        new = forge.rsa_jwk(forge.OTHER_RSA, "rsa-2")
        now = int(time.time())
        times = {"iat": now, "exp": now + 60, "nbf": now}
        token = bearer(forge.token("RS256", header={"kid": "rsa-2"}, claims=times, key=forge.OTHER_RSA))
        codes = await asyncio.gather(*(desk.code(**token) for _ in range(10)))
        assert codes == ["token_unknown_key"] * 10
        await wanted(lambda: desk.peer.questions("/_portico/issuers/refresh") == 1)
        assert ("/_portico/issuers/refresh", {"issuer": "corp"}) in desk.peer.asked
        corp_now = {**forge.ISSUERS[1], "keys": [*forge.ISSUERS[1]["keys"], new]}
        desk.peer.tell({"type": "issuers", "issuers": [forge.ISSUERS[0], corp_now]})
        await wanted(lambda: len(desk.callers.tokens.told) == 2)
        assert await desk.code(**token) == ""
        assert desk.peer.questions("/_portico/issuers/refresh") == 1  # not more often than each 10 s

    beside(begun(test), JWT, begin=False)


def test_an_issuer_that_is_taken_out_is_believed_no_longer(beside: Beside) -> None:
    async def test(desk: Desk) -> None:
        token = corp()
        assert await desk.code(**token) == ""
        desk.peer.tell({"type": "issuers", "issuers": forge.ISSUERS[:1]})
        await wanted(lambda: len(desk.callers.tokens.told) == 1)
        assert await desk.code(**token) == "token_unknown_issuer"

    beside(begun(test), JWT, begin=False)


def test_services_that_keep_nobody_any_more_vouch_for_nobody(beside: Beside) -> None:
    async def test(desk: Desk) -> None:
        token = own()
        assert await desk.code(**token) == ""
        await desk.peer.stop()
        desk.peer.status = 404  # a reload has taken the plugin `auth` out
        await desk.peer.start()
        await wanted(lambda: desk.callers.book.nobody)
        await wanted(lambda: not desk.callers.book.fresh(time.monotonic()))
        assert await desk.code(**token) == "token_unknown_issuer"

    beside(begun(test), JWT, begin=False)


def test_while_beats_are_missing_a_token_waits_for_what_was_revoked(beside: Beside) -> None:
    async def test(desk: Desk) -> None:
        token = own()
        assert await desk.code(**token) == ""
        await desk.stale()
        asked = asyncio.create_task(desk.code(**token))
        await asyncio.sleep(0.05)
        assert not asked.done()
        desk.peer.tell({"type": "revoked", "sessions": {"session-1": 2**40}})
        desk.peer.beating = True
        assert await asked == "token_revoked"

    beside(begun(test), JWT, begin=False)


def test_services_away_tokens_live_for_a_while(beside: Beside) -> None:
    async def test(desk: Desk) -> None:
        desk.callers.asks.stale_for = 2.5
        token = own()
        assert await desk.code(**token) == ""
        await desk.peer.stop()
        await desk.stale()
        last = desk.callers.book.fresh_at
        assert [await desk.code(**token), await desk.code(**own(jti="new"))] == ["", ""]
        began = time.monotonic()
        for _ in range(20):
            assert await desk.code(**token) == ""
        assert time.monotonic() - began < 0.5
        await wanted(lambda: time.monotonic() > last + 2.5)
        assert await desk.code(**token) == "identity_unavailable"

    beside(begun(test), JWT, begin=False)


def test_the_first_token_loads_what_verifies_and_the_loop_goes_on(beside: Beside) -> None:
    async def test(desk: Desk) -> None:
        assert not desk.callers.tokens.ready
        codes = await asyncio.gather(*(desk.code(**own(jti=str(number))) for number in range(5)))
        assert codes == [""] * 5
        assert desk.callers.tokens.ready

    beside(begun(test), JWT, begin=False)


def test_a_look_verifies_and_remembers_nothing(beside: Beside) -> None:
    async def test(desk: Desk) -> None:
        await desk.ask(**own())
        desk.callers.tokens.cache.clear()
        asked = await desk.ask()
        peek = desk.step.peek
        assert peek is not None
        for token, code in ((own(jti="x"), ""), (own(exp=1), "token_expired")):
            asked.fields.take(token["block"])
            asked.now, asked.wall = time.monotonic(), time.time()
            answer = peek(asked)
            assert (answer.code if answer is not None else "") == code  # type: ignore[union-attr]
        assert not desk.callers.tokens.cache

    beside(begun(test), JWT, begin=False)


def claims(**more: Any) -> Claims:
    values = {
        "issuer": "portico", "own": True, "subject": "p", "session": "s", "tenant": "t", "roles": (),
        "permissions": (), "issued": 100, "expires": 200, "leeway": 0.0, **more,
    }  # fmt: skip
    return Claims(**values)


def test_revocations_whose_tokens_have_expired_are_let_go() -> None:
    revoked = Revoked()
    revoked.add({"sessions": {"s": 1000, "t": 5000}, "subjects": {"q": 50}})
    assert revoked.covers(claims())
    assert not revoked.covers(claims(own=False))
    revoked.sweep(1030.0)
    assert "s" in revoked.sessions  # clocks may be apart
    revoked.sweep(1100.0)
    assert list(revoked.sessions) == ["t"]
    assert Accepted(claims(), None, 1.0).until == 1.0  # type: ignore[arg-type]


def test_guesses_are_slowed_and_tokens_that_were_good_once_are_not(beside: Beside) -> None:
    async def test(desk: Desk) -> None:
        good = own()
        assert [await desk.code(**own(exp=1)) for _ in range(25)] == ["token_expired"] * 25
        wrong = bearer(forge.token(key=forge.OTHER_ED))
        assert [await desk.code(**wrong) for _ in range(22)] == ["token_signature"] * 20 + ["too_many_failures"] * 2
        assert await desk.code(**good) == ""
        assert await desk.code(**own(exp=1)) == "token_expired"
        assert await desk.code(**wrong, client=b"192.0.2.99") == "token_signature"

    beside(begun(test), JWT, begin=False)
