"""The store in memory holds no more than it may."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from tests.unit.state.stores import run

from portico.state.memory import OVERHEAD, Entries, Memory


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_the_longest_unused_go_first() -> None:
    async def scene() -> None:
        store = Memory(most=3 * (OVERHEAD + 101))
        for key in "abc":
            await store.set(key, bytes(100), 60.0)
        await store.get("a")
        await store.set("d", bytes(100), 60.0)
        assert [key for key in "abcd" if await store.get(key) is not None] == ["a", "c", "d"]
        await store.set("huge", bytes(5000), 60.0)
        assert await store.get("huge") is None
        assert store.entries.size <= store.entries.most

    run(scene())


def test_what_has_ended_goes_without_being_asked_for() -> None:
    clock = Clock()
    entries = Entries(10**6, clock)
    for number in range(1000):
        entries.set(f"old {number}", b"x", 1.0)
    clock.now += 2
    for number in range(600):
        entries.set(f"new {number}", b"x", 1000.0)
    assert len(entries) == 600


@given(
    st.lists(
        st.tuples(st.sampled_from("gsd+"), st.sampled_from("abcde"), st.integers(0, 300), st.floats(0.1, 9)),
        max_size=80,
    )
)
def test_it_is_a_table_with_ends(steps: list[tuple[str, str, int, float]]) -> None:
    clock = Clock()
    entries = Entries(10**9, clock)
    model: dict[str, tuple[bytes, float]] = {}
    for verb, key, size, seconds in steps:
        known = key in model and model[key][1] > clock.now
        if verb == "g":
            assert entries.get(key) == (model[key][0] if known else None)
            assert (entries.left(key) > 0) == known
        elif verb == "s":
            entries.set(key, bytes(size), seconds)
            model[key] = (bytes(size), clock.now + seconds)
        elif verb == "d":
            assert entries.delete(key) == known
            model.pop(key, None)
        else:
            clock.now += seconds
    assert entries.size == sum(OVERHEAD + len(key) + len(entries._entries[key][0]) for key in entries._entries)
