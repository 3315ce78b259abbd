"""What Redis does and what its Python twin does are the same, whatever is asked in whatever order."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.unit.state.stores import opened, run

from portico.edge.limits.twins import SCRIPTS
from portico.state import Store
from portico.state.memory import Memory

NOW = 1_763_740_800_000_000  # 2025-11-21T16:00:00Z in microseconds
HOURS = 3_600_000_000

limits = st.sampled_from(
    [
        ("rate", 5, 200_000, 500_000),
        ("rate", 40, 142_858, 500_000),
        ("window", 6, 1_000_000, 16_666),
        ("window", 40, 60_000_000, 500_000),
        ("quota", 30, 0, 500_000),
        ("slots", 4, 0, 60_000_000),
    ]
)
needs = st.sampled_from([1, 1, 1, 2, 7])
owes = st.sampled_from([0, 0, 0, 1, -1, 4, -4, 50])
asks = st.tuples(limits, st.sampled_from([0, 1, 1, 2, 3, 5]), st.integers(-1, 3), needs, owes)
pauses = st.integers(0, 300_000) | st.sampled_from([0, 0, 600_000, 1_000_000, 2_500_000, 61_000_000, 9 * HOURS])
calls = st.tuples(
    pauses,
    st.sampled_from(["a", "b", "c"]),
    st.lists(asks, min_size=1, max_size=4, unique_by=lambda ask: ask[0]),
    st.sampled_from([0, 0, 0, 1]),
)
beats = st.tuples(pauses, st.sampled_from(["a", "b", "c"]), st.sampled_from([False] * 7 + [True]), st.booleans())


async def replay(store: Store, steps: list[Any]) -> list[Any]:
    """All answers to a story; its clock only goes on."""
    for script in SCRIPTS:
        store.register(script)
    now, epoch, answers, marks = NOW, "-", [], {}
    for number, step in enumerate([(0, who, False, False) for who in "abc"] + steps):
        now += step[0]
        if isinstance(step[2], bool):
            known = f"old{number}" if step[2] else epoch
            name = f"epoch{number}"
            answer: Any = await store.script(
                "limits.beat", ["m", "r"], [now, step[1], known, name, 2_000_000, int(step[3]), 2_000_000]
            )
            epoch = answer[1].decode()
            answers.append(answer)
            continue
        keys, args = ["m", "r"], [now, epoch, step[1], step[3]]
        for (kind, most, unit, lapse), want, back, need, owe in step[2]:
            keys.append(f"{epoch}:{kind}:{most}")
            held = max(back, 0) if kind == "slots" or want > 1 or want == 0 else -1
            mark = marks.get((step[1], kind, most), 0)
            want = want * need if kind != "slots" else want
            args += [kind, most, unit, want, held, lapse, 0, mark, need, owe, 30 if owe else 0]
        answer = await store.script("limits.take", keys, args)
        answers.append(answer)
        for index, ((kind, most, *_), *_) in enumerate(step[2]):
            marks[step[1], kind, most] = answer[5 + index * 4]
    return answers


@settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
@given(steps=st.lists(calls | beats, min_size=10, max_size=40))
def test_lua_and_its_twin_answer_alike(redis_url: str, steps: list[Any]) -> None:
    async def scene() -> None:
        memory = Memory(clock=lambda: 0.0)
        async with opened(redis_url, 2.0) as store:
            await store._call(bytes, b"FLUSHALL")  # type: ignore[attr-defined]
            await store.set("limits:run", b"-", 60.0)
            there = await replay(store, steps)
        here = await replay(memory, steps)
        assert [each[1:] if len(each) == 5 else each for each in here] == [
            each[1:] if len(each) == 5 else each for each in there
        ]

    run(scene())


def test_the_server_s_clock_and_a_time_to_live(redis_url: str) -> None:
    async def scene() -> None:
        async with opened(redis_url, 1.0) as store:
            for script in SCRIPTS:
                store.register(script)
            beat: Any = await store.script("limits.beat", ["m", "r"], [0, "a", "-", "e1", 2_000_000, 0, 0])
            assert beat[0] > NOW
            assert beat[1:] == [b"e1", 0, 0, 1]
            for kind in ("rate", "window", "quota", "slots"):
                args = [0, "e1", "a", 0, kind, 5, 1_000_000, 1, 0, 500_000, 0, 0, 1, 0, 0]
                told: Any = await store.script("limits.take", ["m", "r", kind], args)
                assert told[1:4] == [1, 1, 4]
                left = await store._call(int, b"PTTL", b"portico:" + kind.encode())  # type: ignore[attr-defined]
                assert left > 0, "nothing is kept for ever"
            assert await store.script("limits.take", ["m", "r", "rate"], [0, "e0", "a", 0, *args[4:]]) == [-1]

    run(scene())


@pytest.mark.parametrize("known", ["", "e0"])
def test_an_epoch_ends_with_the_server_that_knew_it(known: str) -> None:
    """A store that nobody has used begins full; one that should have known us begins empty, as does another server."""

    async def scene() -> None:
        clock = [1000.0]
        store = Memory(clock=lambda: clock[0])
        for script in SCRIPTS:
            store.register(script)

        async def beat(who: str, knows: str, name: str) -> Any:
            return await store.script("limits.beat", ["m", "r"], [0, who, knows or "-", name, 2_000_000, 0, 0])

        async def takes(epoch: str) -> bool:
            args = [0, epoch, "a", 0, "rate", 5, 1_000_000, 1, -1, 0, 0, 0, 1, 0, 0]
            told: Any = await store.script("limits.take", ["m", "r", f"{epoch}:k"], args)
            return bool(told[1])

        first = await beat("a", known, "e1")
        assert first[1:3] == [b"e1", 1_000_000_000 if known else 0]
        assert await takes("e1") == (not known)
        clock[0] += 1.0
        assert (await beat("b", "", "e2"))[1] == b"e1"
        assert await takes("e1")
        await store.set("limits:run", b"other", 60.0)
        assert (await beat("b", "e1", "e3"))[1:3] == [b"e3", 1_001_000_000]
        assert not await takes("e3")
        assert (await beat("a", "e1", "e4"))[1] == b"e3", "the second to find out goes along"
        clock[0] += 1.0
        assert await takes("e3")

    run(scene())
