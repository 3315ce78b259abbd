"""The sliding count agrees with one that remembers every event."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from portico.edge.forward.rolling import STEPS, Rolling

events = st.lists(st.tuples(st.floats(0.0, 4.0), st.booleans()), max_size=60)


@given(events=events, span=st.sampled_from([1.0, 10.0]))
def test_nothing_young_is_missing_and_nothing_old_is_counted(events: list[tuple[float, bool]], span: float) -> None:
    rolling = Rolling(span)
    now = 1000.0
    seen: list[tuple[float, bool]] = []
    for pause, marked in events:
        now += pause
        rolling.see(now)
        if marked:
            rolling.mark()
        seen.append((now, marked))
        step = span / STEPS
        for count, only_marked in ((rolling.total(), False), (rolling.total_marked(), True)):
            young = [at for at, m in seen if at > now - span + step + 1e-6 and (m or not only_marked)]
            recent = [at for at, m in seen if at > now - span - step - 1e-6 and (m or not only_marked)]
            assert len(young) <= count <= len(recent)


def test_a_pause_longer_than_the_span_forgets_everything() -> None:
    rolling = Rolling(10.0)
    for second in range(9):
        rolling.see(float(second))
        rolling.mark()
    assert (rolling.total(), rolling.total_marked()) == (9, 9)
    rolling.turn(30.0)
    assert (rolling.total(), rolling.total_marked()) == (0, 0)
