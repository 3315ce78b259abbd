"""Verdicts are added up exactly, whoever adds them when."""

from __future__ import annotations

from tests.unit.storage.kit import Store
from tests.unit.storage.usage.kit import START, judge

from portico.storage.tables.usage import DAY, HOUR, MINUTE
from portico.storage.usage import Judgements, Usage, Verdicts, verdicts
from portico.storage.usage.records import judged
from portico.storage.usage.verdicts import Counted

END = START + 2 * DAY


def counted(minute: int, key: str, engine: str = "one", malicious: bool = False, texts: int = 1) -> Counted:
    """So many texts with a confidence of 0.25; half of them degraded, none from the cache."""
    tenant = "red" if key < "m" else "blue"
    return Counted(
        START + minute * 60 + 7, tenant, "key", key, key, engine, malicious, texts, texts * 250_000, texts // 2, 0
    )


def test_each_level_and_each_tenant_has_the_sum(store: Store) -> None:
    judge(store, counted(0, "a", texts=4), counted(0, "a", malicious=True), counted(61, "a", "two"), counted(0, "x"))
    judge(store, counted(0, "a", texts=2))
    asked, usage = Judgements(store.db), Usage(store.db)
    mine = store.run(usage.callers("a", None))
    assert store.run(asked.series(mine, MINUTE, START, END)) == {
        START: Verdicts(7, 1, 1_750_000, 3, 0),
        START + 61 * 60: Verdicts(1, 0, 250_000, 0, 0),
    }
    assert list(store.run(asked.series(mine, HOUR, START, END))) == [START, START + HOUR]
    assert store.run(asked.series(mine, MINUTE, START + 60, START + 61 * 60)) == {}, "the end is not part of it"
    for span in (MINUTE, HOUR, DAY):
        for tenant, texts in (("red", 8), ("blue", 1), (None, 9), ("green", 0)):
            assert judged(store.run(asked.totals(tenant, span, START, END)).values()).texts == texts
    engines = store.run(asked.engines(mine, DAY, START, END))
    assert {name: each.texts for name, each in engines.items()} == {"one": 7, "two": 1}
    total = store.run(asked.total_engines(None, DAY, START, END))
    assert {name: each.texts for name, each in total.items()} == {"one": 8, "two": 1}
    assert store.run(asked.series([], DAY, START, END)) == {}


def test_names_of_any_length_and_with_any_character_are_kept(store: Store) -> None:
    odd = Counted(START, "red", "person", "", "\0" + "ü" * 3000, "e" * 200, True, 1, 1_000_000, 0, 1)
    judge(store, odd, odd)
    assert store.run(Judgements(store.db).totals("red", DAY, START, END)) == {START: Verdicts(2, 2, 2_000_000, 0, 2)}


def test_what_guards_have_judged_is_told_apart(store: Store) -> None:
    judge(store, counted(0, "a", texts=4), counted(0, "a", malicious=True))
    rows = [
        [START + 7, "a", "a", "key", "red", "one", 0, 3, 300_000, 1, 2],
        [START + 60, "a", "a", "key", "red", "two", 1, 1, 900_000, 0, 0],
        [START, "", "", "anonymous", "", "one", 1, 5, 4_500_000, 0, 0],
    ]

    async def take() -> None:
        async with store.db.write() as session:
            await verdicts.take(session, [{"kind": "judged", "rows": rows[:2]}, {"kind": "judged", "rows": rows[2:]}])

    store.run(take())
    asked = Judgements(store.db)
    assert store.run(asked.series(store.run(Usage(store.db).callers("a", None)), MINUTE, START, END)) == {
        START: Verdicts(8, 1, 1_550_000, 3, 2, 3, 0),
        START + 60: Verdicts(1, 1, 900_000, 0, 0, 1, 1),
    }
    assert store.run(asked.totals("red", DAY, START, END)) == {START: Verdicts(9, 2, 2_450_000, 3, 2, 4, 1)}
    assert store.run(asked.totals(None, DAY, START, END)) == {START: Verdicts(14, 7, 6_950_000, 3, 2, 9, 6)}
