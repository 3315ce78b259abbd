"""Keys of the database at the edge: asked for once, refused within a second of a revocation, believed for a while."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

from tests.unit.edge.callers.conftest import Desk
from tests.unit.edge.callers.peer import digest, wanted

from portico.edge.callers import asks
from portico.identity.apikeys import generate

Beside = Callable[..., None]


def test_a_key_is_asked_once_and_then_known(beside: Beside) -> None:
    async def test(desk: Desk) -> None:
        key = desk.peer.issue(permissions=["orders:*"], tenant="blue")
        first = await desk.ask(key)
        assert first.notes["answer"] is None
        assert first.principal is not None
        assert (first.principal.id, first.principal.kind, first.principal.tenant) == ("id-0", "key", "blue")
        assert first.principal.allows("orders:read")
        for _ in range(10):
            assert desk.step.check(await desk.ask(key)) is None
        assert desk.peer.questions() == 1

    beside(test)


def test_a_key_that_was_made_this_moment_works_at_once(beside: Beside) -> None:
    async def test(desk: Desk) -> None:
        for _ in range(5):
            key = generate()
            desk.peer.keys[digest(key)] = record()
            asked = asyncio.create_task(desk.code(key))
            await asyncio.sleep(0.01)
            desk.peer.tell_key(key, "added")
            assert await asked == ""

    beside(test)


def record(**more: Any) -> dict[str, Any]:
    return {
        "id": "k", "name": "n", "tenant": "acme", "permissions": [], "networks": [], "expires": None,
        "per_minute": 0, "per_day": 0, "window": "", "rate": "", "burst": 0, "quota": "", **more,
    }  # fmt: skip


def test_random_keys_reach_nothing(beside: Beside) -> None:
    async def test(desk: Desk) -> None:
        desk.peer.issue()
        begun = desk.peer.asked[:]
        assert await desk.code("pk_" + "x" * 49) == "credentials_unknown"
        codes = await asyncio.gather(*(desk.code(generate(), client=b"192.0.2.%d" % n) for n in range(200)))
        assert set(codes) == {"credentials_unknown"}
        assert desk.peer.asked == begun

    beside(test)


def test_the_same_unknown_key_is_asked_once_at_a_time(beside: Beside) -> None:
    async def test(desk: Desk) -> None:
        key = desk.peer.issue()
        desk.peer.slow = asyncio.Event()
        requests = [asyncio.create_task(desk.code(key)) for _ in range(50)]
        await wanted(lambda: desk.peer.questions() == 1)
        await asyncio.sleep(0.05)
        desk.peer.slow.set()
        assert set(await asyncio.gather(*requests)) == {""}
        assert desk.peer.questions() == 1

    beside(test)


def test_a_revoked_key_is_refused_within_a_second(beside: Beside) -> None:
    async def test(desk: Desk) -> None:
        key = desk.peer.issue()
        assert await desk.code(key) == ""
        desk.peer.revoke(key)
        began = time.monotonic()
        await wanted(lambda: digest(key) not in desk.callers.book.entries)
        assert await desk.code(key) == "credentials_unknown"
        assert time.monotonic() - began < 1.0
        desk.peer.issue(key)
        assert await desk.code(key) == ""

    beside(test)


def test_a_changed_key_is_asked_again(beside: Beside) -> None:
    async def test(desk: Desk) -> None:
        key = desk.peer.issue()
        await desk.code(key)
        desk.peer.keys[digest(key)]["permissions"] = ["other:thing"]
        desk.peer.tell_key(key, "changed")
        await wanted(lambda: digest(key) not in desk.callers.book.entries)
        asked = await desk.ask(key)
        assert asked.principal is not None
        assert asked.principal.permissions == ("other:thing",)

    beside(test)


def test_an_answer_that_a_revocation_has_overtaken_does_not_count(beside: Beside) -> None:
    async def test(desk: Desk) -> None:
        key = desk.peer.issue()
        desk.peer.slow = asyncio.Event()
        asked = asyncio.create_task(desk.code(key))
        await wanted(lambda: desk.peer.questions() == 1)
        desk.peer.revoke(key)  # the answer, which says that the key is good, is still held back
        await wanted(lambda: digest(key) in desk.callers.book.absent)
        desk.peer.slow.set()
        assert await asked == "credentials_unknown"
        assert desk.peer.questions() == 2

    beside(test)


def test_without_beats_known_keys_are_asked_again_and_revocations_are_seen(beside: Beside) -> None:
    async def test(desk: Desk) -> None:
        kept, gone = desk.peer.issue(), desk.peer.issue()
        assert [await desk.code(kept), await desk.code(gone)] == ["", ""]
        await desk.stale()
        del desk.peer.keys[digest(gone)]  # and nobody tells
        assert await desk.code(gone) == "credentials_unknown"
        before = desk.peer.questions()
        assert await desk.code(kept) == ""
        assert desk.peer.questions() == before + 1

    beside(test)


def test_services_away_known_keys_live_for_a_while_and_unknown_ones_get_503_at_once(beside: Beside) -> None:
    async def test(desk: Desk) -> None:
        desk.callers.asks.stale_for = 2.5
        known, unknown = desk.peer.issue(), desk.peer.issue()
        assert await desk.code(known) == ""
        await desk.peer.stop()
        last = desk.callers.book.fresh_at
        await desk.stale()
        began = time.monotonic()
        answer = (await desk.ask(unknown)).notes["answer"]
        assert (answer.status, answer.code) == (503, "identity_unavailable")
        assert b"Retry-After: 1" in answer.fields
        assert time.monotonic() - began < 0.3
        assert await desk.code(known) == ""
        assert desk.callers.book.fresh_at == last
        await wanted(lambda: time.monotonic() > last + 2.5)
        assert await desk.code(known) == "identity_unavailable"
        assert await desk.code("pk_" + "x" * 49) == "credentials_unknown"  # nobody has to be asked about it
        desk.peer.beating = True
        await desk.peer.start()
        await desk.fresh()
        assert [await desk.code(known), await desk.code(unknown)] == ["", ""]

    beside(test)


def test_services_that_hang_are_waited_for_once_and_not_by_everybody(beside: Beside) -> None:
    async def test(desk: Desk) -> None:
        known, unknown = desk.peer.issue(), desk.peer.issue()
        assert await desk.code(known) == ""
        desk.peer.mute = True
        await desk.stale()
        began = time.monotonic()
        assert await desk.code(unknown) == "identity_unavailable"
        assert 0.9 < time.monotonic() - began < 1.5
        began = time.monotonic()
        codes = await asyncio.gather(*(desk.code(key) for key in (known, unknown) * 20))
        assert codes == ["", "identity_unavailable"] * 20
        assert time.monotonic() - began < 0.3
        desk.peer.mute, desk.peer.beating = False, True
        await desk.fresh()
        assert await desk.code(unknown) == ""

    beside(test)


def test_after_a_reconnect_every_known_key_is_asked_again(beside: Beside) -> None:
    async def test(desk: Desk) -> None:
        kept, gone = desk.peer.issue(), desk.peer.issue()
        assert [await desk.code(kept), await desk.code(gone)] == ["", ""]
        generation = desk.callers.book.generation
        await desk.peer.stop()
        del desk.peer.keys[digest(gone)]
        await desk.peer.start()
        await wanted(lambda: desk.callers.book.generation > generation)
        await desk.fresh()
        before = desk.peer.questions()
        assert [await desk.code(kept), await desk.code(gone)] == ["", "credentials_unknown"]
        assert desk.peer.questions() == before + 2

    beside(test)


def test_a_later_stream_does_not_vouch_for_what_was_known_before(beside: Beside) -> None:
    async def test(desk: Desk) -> None:
        desk.callers.asks.stale_for = 1.0
        key = desk.peer.issue()
        assert await desk.code(key) == ""
        generation, last = desk.callers.book.generation, desk.callers.book.fresh_at
        await desk.peer.stop()
        del desk.peer.keys[digest(key)]  # no stream tells of it
        await desk.peer.start()
        await wanted(lambda: desk.callers.book.generation > generation)
        await desk.fresh()
        desk.peer.status = 500  # the changes are heard, but the question has no answer
        assert await desk.code(key) == ""
        await wanted(lambda: time.monotonic() > last + 1.5)
        assert desk.callers.book.fresh(time.monotonic())
        assert await desk.code(key) == "identity_unavailable"
        desk.peer.status = 200
        assert await desk.code(key) == "credentials_unknown"

    beside(test)


def test_new_connections_when_told_so(beside: Beside) -> None:
    async def test(desk: Desk) -> None:
        key = desk.peer.issue()
        await desk.code(key)
        generation, old = desk.callers.book.generation, set(desk.peer.connections)
        desk.callers.renew()
        await wanted(lambda: desk.callers.book.generation > generation)
        await desk.fresh()
        assert await desk.code(key) == ""
        assert all(writer.is_closing() for writer in old)

    beside(test)


def test_services_without_keys_are_no_outage(beside: Beside) -> None:
    async def test(desk: Desk) -> None:
        desk.peer.status = 404
        await desk.peer.start()
        desk.callers.start()
        await wanted(lambda: desk.callers.book.nobody)
        assert await desk.code(generate()) == "credentials_unknown"
        assert desk.peer.questions() == 0

    beside(test, begin=False)


def test_before_the_services_are_there_keys_get_503(beside: Beside) -> None:
    async def test(desk: Desk) -> None:
        desk.callers.start()
        assert await desk.code(generate()) == "identity_unavailable"
        await desk.peer.start()
        key = desk.peer.issue()
        assert await desk.code(key) == ""  # asked, though the changes may not be heard of yet
        await desk.fresh()

    beside(test, begin=False)


def test_expiry_and_networks(beside: Beside) -> None:
    async def test(desk: Desk) -> None:
        key = desk.peer.issue(networks=["192.0.2.0/24", "2001:db8::/32"], expires=time.time() + 0.5)
        assert await desk.code(key) == ""
        assert await desk.code(key, client=b"2001:db8::7") == ""
        assert await desk.code(key, client=b"::ffff:192.0.2.9") == ""
        assert await desk.code(key, client=b"198.51.100.1") == "address_not_allowed"
        assert await desk.code(key, client=b"") == "address_not_allowed"
        assert await desk.code(key) == ""
        await asyncio.sleep(0.55)
        assert await desk.code(key) == "credentials_unknown"

    beside(test)


def test_what_can_t_be_read_is_no_answer(beside: Beside) -> None:
    async def test(desk: Desk) -> None:
        wrong = [{"id": "x"}, {**record(), "networks": ["nonsense"]}, {**record(), "expires": "soon"}, 5]
        for each in wrong:
            key = desk.peer.issue()
            desk.peer.keys[digest(key)] = each  # type: ignore[assignment]
            assert await desk.code(key) == "identity_unavailable"

    beside(test)


def test_answers_in_chunks_are_read_too(beside: Beside) -> None:
    async def test(desk: Desk) -> None:
        desk.peer.chunked = True
        key = desk.peer.issue()
        assert [await desk.code(key), await desk.code(generate())] == ["", "credentials_unknown"]

    beside(test)


def test_use_is_told(beside: Beside) -> None:
    async def test(desk: Desk) -> None:
        keys = [desk.peer.issue(id=f"used-{number}") for number in range(3)]
        for key in keys:
            await desk.code(key)
        await desk.callers.stop()
        ((_, told),) = [each for each in desk.peer.asked if each[0] == "/_portico/used"]
        assert set(told["keys"]) == {"used-0", "used-1", "used-2"}
        assert all(abs(when - time.time()) < 10 for when in told["keys"].values())

    beside(test)


def test_only_so_many_questions_wait(beside: Beside, monkeypatch: Any) -> None:
    async def test(desk: Desk) -> None:
        monkeypatch.setattr(asks, "MOST", 10)
        keys = [desk.peer.issue() for _ in range(15)]
        desk.peer.slow = asyncio.Event()
        requests = [asyncio.create_task(desk.code(key)) for key in keys]
        await wanted(lambda: sum(request.done() for request in requests) == 5)
        desk.peer.slow.set()
        codes = await asyncio.gather(*requests)
        assert codes == [""] * 10 + ["identity_unavailable"] * 5

    beside(test)


def test_what_is_remembered_is_bounded(beside: Beside) -> None:
    async def test(desk: Desk) -> None:
        book = desk.callers.book
        book.records = 3
        keys = [desk.peer.issue() for _ in range(5)]
        for key in keys:
            assert await desk.code(key) == ""
        assert len(book.entries) == 3
        desk.peer.revoke(keys[0])  # no longer remembered, but still found without hashing
        await wanted(lambda: digest(keys[0]) in book.absent)
        assert await desk.code(keys[0]) == "credentials_unknown"

    beside(test)


def test_a_look_spends_nothing_and_sees_what_is_known(beside: Beside) -> None:
    async def test(desk: Desk) -> None:
        key = desk.peer.issue()
        exchange = await desk.ask(key)
        begun = len(desk.peer.asked)
        desk.callers.book.used.clear()
        assert desk.step.peek is not None
        exchange.principal = None
        assert desk.step.peek(exchange) is None
        assert exchange.principal is not None
        assert not desk.callers.book.used
        assert len(desk.peer.asked) == begun

    beside(test)
