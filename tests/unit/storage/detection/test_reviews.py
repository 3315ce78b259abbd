"""What is kept of texts that wait for a person, on both kinds of database."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from tests.unit.storage.kit import Store

from portico.errors import Missing
from portico.storage.detection import AlreadyDecided, Decision, Doubt, Put, Review, Reviews, Wanted
from portico.storage.ids import now, uuid7
from portico.storage.tables import sealed_as

ONE = Doubt("a", "key:1", "r-1", "is this an attack?", "is this an attack?", "engine_timeout", "mine", 0.6, 0.5)
MOST = 10
ALL = Wanted(None)


class Kept:
    def __init__(self, store: Store) -> None:
        self.store = store
        self.reviews = Reviews(store.db, store.vault)

    def put(self, *doubts: Doubt, most: int = MOST) -> list[Put]:
        return self.store.run(self.reviews.put(doubts, most))

    def list(self, wanted: Wanted = ALL, **more: Any) -> list[Review]:
        return self.store.run(self.reviews.list(wanted, **more))[0]

    def one(self, doubt: Doubt = ONE) -> Review:
        assert self.put(doubt) == [Put.KEPT]
        return next(each for each in self.list(Wanted(doubt.tenant)) if each.text == doubt.shown)

    def decide(self, review: Review, decision: str = "malicious", by: str = "person:1", **more: Any) -> Review:
        made = Decision(decision, more.pop("note", ""), tuple(more.pop("threat_types", ())), by)
        return self.store.run(self.reviews.decide(review.tenant, review.id, made, **more))

    def actions(self) -> list[str]:
        return [row[0] for row in self.store.execute("SELECT action FROM audit ORDER BY sequence")]


@pytest.fixture
def kept(store: Store) -> Kept:
    return Kept(store)


def other(text: str, tenant: str = "a") -> Doubt:
    return replace(ONE, text=text, shown=text, tenant=tenant)


def test_what_is_put_is_what_is_found(kept: Kept) -> None:
    before = now()
    found = kept.one()
    assert before <= found.created_at == found.last_at <= now()
    expected = Review(
        found.id, "a", "key:1", "r-1", ONE.text, 18, "engine_timeout", "mine", 0.6, 0.5, 1, found.created_at,
        found.last_at, "", (), "", "", None,
    )  # fmt: skip
    assert found == expected
    assert kept.store.run(kept.reviews.get("a", found.id)) == found


@pytest.mark.parametrize("text", ["emoji 🎉 字", "line\nbreak\tand \\ quotes \" '", "x" * 10_000, "ü" * 10_000])
def test_every_text_comes_back_as_it_was(kept: Kept, text: str) -> None:
    assert kept.one(other(text)).text == text


def test_nothing_of_the_text_can_be_read_in_the_table(kept: Kept) -> None:
    review = kept.decide(kept.one(), note="quite certainly a note")
    (row,) = kept.store.execute("SELECT * FROM detection_reviews")
    seen = b"".join(value.tobytes() if isinstance(value, memoryview) else str(value).encode() for value in row)
    for part in (b"attack", b"certainly"):
        assert part not in seen
    sealed = bytes(kept.store.execute("SELECT sealed FROM detection_reviews")[0][0])
    assert b"attack" in kept.store.vault.unseal(sealed, sealed_as("detection_reviews", review.id))


def test_the_same_text_waits_once_a_tenant_and_is_counted(kept: Kept) -> None:
    assert kept.put(ONE, ONE, replace(ONE, owner="key:2", threshold=0.9)) == [Put.KEPT, Put.AGAIN, Put.AGAIN]
    assert kept.put(ONE) == [Put.AGAIN]
    (found,) = kept.list()
    assert (found.times, found.owner, found.threshold) == (4, "key:1", 0.6)
    assert found.last_at > found.created_at
    assert kept.put(other(ONE.text, "b")) == [Put.KEPT]
    macs = [bytes(row[0]) for row in kept.store.execute("SELECT mac FROM detection_reviews")]
    assert len(set(macs)) == 2  # tenants can't be compared


def test_a_text_that_was_decided_does_not_wait_again(kept: Kept) -> None:
    kept.decide(kept.one(), "benign")
    assert kept.put(ONE) == [Put.AGAIN]
    assert [(each.decision, each.times) for each in kept.list()] == [("benign", 2)]


def test_beyond_the_bound_of_a_tenant_none_is_added_until_there_is_room(kept: Kept) -> None:
    doubts = [other(f"text {number}") for number in range(4)]
    assert kept.put(*doubts, other("theirs", "b"), most=3) == [Put.KEPT, Put.KEPT, Put.KEPT, Put.FULL, Put.KEPT]
    assert kept.put(doubts[3], doubts[0], most=3) == [Put.FULL, Put.AGAIN]
    kept.decide(kept.list(Wanted("a"))[0])
    assert kept.put(doubts[3], most=3) == [Put.KEPT]


def test_two_processes_that_put_the_same_text_keep_one(kept: Kept) -> None:
    second = kept.store.database()
    others = Reviews(second, kept.store.vault)
    texts = [other(f"text {number}") for number in range(20)]

    async def work() -> None:
        await second.open()
        try:
            await asyncio.gather(kept.reviews.put(texts, 100), others.put(texts[::-1], 100))
        finally:
            await second.close()

    kept.store.run(work())
    found = kept.list(limit=100)
    assert sorted(each.text or "" for each in found) == sorted(each.text for each in texts)
    assert {each.times for each in found} == {2}


def test_lists_are_filtered_and_paged_oldest_first(kept: Kept) -> None:
    for number in range(5):
        kept.put(other(f"text {number}"))
    kept.put(replace(other("of b", "b"), why="asked"))
    ids = [each.id for each in kept.list(Wanted("a"))]
    assert ids == sorted(ids)
    assert len(ids) == 5
    first, cursor = kept.store.run(kept.reviews.list(Wanted("a"), None, 3))
    assert cursor is not None
    second, end = kept.store.run(kept.reviews.list(Wanted("a"), cursor, 3))
    assert ([each.id for each in first + second], end) == (ids, None)
    kept.decide(first[0], "malicious")
    kept.decide(first[1], "benign")
    assert [each.id for each in kept.list(Wanted("a", state="waiting"))] == ids[2:]
    assert [each.id for each in kept.list(Wanted("a", state="decided"))] == ids[:2]
    assert [each.id for each in kept.list(Wanted("a", decision="benign"))] == [ids[1]]
    assert [each.text for each in kept.list(Wanted(None, why="asked"))] == ["of b"]
    assert kept.list(Wanted("c")) == []


def test_a_decision_is_written_down_once_with_who_and_when(kept: Kept) -> None:
    waiting = kept.one()
    made = kept.decide(waiting, "malicious", note="plain", threat_types=("injection",))
    assert (made.decision, made.note, made.threat_types, made.decided_by) == (
        "malicious", "plain", ("injection",), "person:1",
    )  # fmt: skip
    assert made.decided_at is not None
    assert made.text == ONE.text
    assert kept.store.run(kept.reviews.get("a", waiting.id)) == made
    again = kept.decide(waiting, "malicious", note="plain", threat_types=("injection",))
    assert again == made
    assert kept.actions() == ["reviews.decide"]


def test_who_decided_may_think_again_and_others_only_when_they_overrule(kept: Kept) -> None:
    waiting = kept.one()
    first = kept.decide(waiting, "malicious")
    assert kept.decide(waiting, "malicious", by="person:2", note="me too") == first
    with pytest.raises(AlreadyDecided) as told:
        kept.decide(waiting, "benign", by="person:2")
    assert told.value.review == first
    assert kept.decide(waiting, "benign").decision == "benign"
    over = kept.decide(waiting, "malicious", by="person:2", overrule=True)
    assert (over.decision, over.decided_by) == ("malicious", "person:2")
    assert kept.actions() == ["reviews.decide"] * 3


def test_of_two_who_decide_at_once_otherwise_one_is_told(kept: Kept) -> None:
    waiting = kept.one()
    second = kept.store.database()

    async def work() -> list[Any]:
        await second.open()
        try:
            others = Reviews(second, kept.store.vault)
            made = [Decision(word, "", (), f"person:{word}") for word in ("malicious", "benign")]
            return await asyncio.gather(
                kept.reviews.decide("a", waiting.id, made[0]),
                others.decide("a", waiting.id, made[1]),
                return_exceptions=True,
            )
        finally:
            await second.close()

    found = kept.store.run(work())
    assert sorted(type(each).__name__ for each in found) == ["AlreadyDecided", "Review"]


def test_a_text_can_be_removed_with_the_decision(kept: Kept) -> None:
    made = kept.decide(kept.one(), "benign", note="a name in it", drop=True)
    assert (made.text, made.note, made.characters) == (None, "a name in it", 18)
    assert kept.decide(made, "malicious").text is None
    assert kept.put(ONE) == [Put.AGAIN]


def test_another_tenant_s_review_is_none(kept: Kept) -> None:
    mine = kept.one()
    with pytest.raises(Missing):
        kept.store.run(kept.reviews.get("b", mine.id))
    with pytest.raises(Missing):
        kept.decide(replace(mine, tenant="b"))
    for name in (uuid7(), "no id at all", "\0"):
        with pytest.raises(Missing):
            kept.store.run(kept.reviews.get(None, name))


def test_what_is_too_old_is_removed_decided_or_not(kept: Kept, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("portico.storage.detection.reviews.CHUNK", 2)
    old = [kept.one(other(f"old {number}")) for number in range(5)]
    kept.decide(old[0])
    young = kept.one(other("young"))
    assert kept.store.run(kept.reviews.prune(young.created_at)) == 5
    assert kept.list() == [young]
    assert kept.store.run(kept.reviews.prune(now() + timedelta(seconds=1))) == 1


def test_an_altered_row_is_an_error_and_not_another_s_text(kept: Kept) -> None:
    from portico.errors import VaultError

    one, two = kept.one(), kept.one(other("another"))
    kept.store.execute(
        "UPDATE detection_reviews SET sealed = (SELECT sealed FROM detection_reviews WHERE id = :two) WHERE id = :one",
        one=one.id, two=two.id,
    )  # fmt: skip
    with pytest.raises(VaultError):
        kept.store.run(kept.reviews.get("a", one.id))


def test_an_export_is_recorded(kept: Kept) -> None:
    for tenant in ("a", None):
        kept.store.run(kept.reviews.exported(tenant, {"state": "decided"}))
    assert kept.actions() == ["reviews.export"] * 2


def test_what_is_longer_than_its_column_is_cut(kept: Kept) -> None:
    found = kept.one(replace(ONE, owner="x" * 400, request_id="y" * 400))
    assert (len(found.owner), len(found.request_id)) == (300, 128)
