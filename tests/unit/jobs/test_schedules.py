"""When schedules are due, also where clocks are changed; and what is made of it."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from tests.unit.jobs.kit import Bench, eventually

from portico.errors import Invalid, JobRefused, Missing, Taken
from portico.jobs import JobRecord, Schedule, clock, clockwork, due, schedules
from portico.jobs.clockwork import CATCH_UP, Clockwork, Step, decide
from portico.jobs.due import Timing
from portico.jobs.schedules import Schedules, Wanted

START = datetime(2026, 1, 1, tzinfo=UTC)


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).astimezone(UTC)


def times(cron: str, zone: str, after: str, count: int) -> list[datetime]:
    found, moment = [], at(after)
    for _ in range(count):
        following = due.following(Timing(cron, zone, 0.0, START), moment)
        assert following is not None
        found.append(following)
        moment = following
    return found


def test_clocks_put_forward() -> None:
    """2026-03-29, Berlin: 02:00 to 03:00 does not exist. What falls into it runs at its end, once."""
    assert times("30 2 * * *", "Europe/Berlin", "2026-03-28T12:00+01:00", 2) == [
        at("2026-03-29T03:00+02:00"), at("2026-03-30T02:30+02:00"),
    ]  # fmt: skip
    hours = times("0 * * * *", "Europe/Berlin", "2026-03-29T00:30+01:00", 3)
    assert hours == [at(f"2026-03-29T{hour}") for hour in ("01:00+01:00", "03:00+02:00", "04:00+02:00")]


def test_clocks_put_back() -> None:
    """2026-10-25, Berlin: 02:00 to 03:00 comes twice. A time of day runs the first time, each hour each hour."""
    assert times("30 2 * * *", "Europe/Berlin", "2026-10-24T12:00+02:00", 2) == [
        at("2026-10-25T02:30+02:00"), at("2026-10-26T02:30+01:00"),
    ]  # fmt: skip
    hours = times("0 * * * *", "Europe/Berlin", "2026-10-25T01:30+02:00", 3)
    assert [each - hours[0] for each in hours] == [timedelta(0), timedelta(hours=1), timedelta(hours=2)]
    # From within the second of the two hours, the next is tomorrow's, never the one that is over.
    again = due.following(Timing("30 2 * * *", "Europe/Berlin", 0.0, START), at("2026-10-25T02:15+01:00"))
    assert again == at("2026-10-26T02:30+01:00")


def test_intervals_count_from_their_origin() -> None:
    every = Timing("", "UTC", 90.0, START)
    assert due.following(every, START) == START + timedelta(seconds=90)
    assert due.following(every, START + timedelta(seconds=200)) == START + timedelta(seconds=270)
    assert due.following(every, START - timedelta(days=1)) == START
    assert due.preceding(every, START + timedelta(seconds=300), START, 2) == [
        START + timedelta(seconds=180), START + timedelta(seconds=270),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("cron", "zone", "every", "jitter", "missed"),
    [
        ("", "UTC", 0.0, 0.0, "once"), ("* * * * *", "UTC", 60.0, 0.0, "once"), ("* * * *", "UTC", 0.0, 0.0, "once"),
        ("61 * * * *", "UTC", 0.0, 0.0, "once"), ("0 0 30 2 *", "UTC", 0.0, 0.0, "once"),
        ("* * * * *", "Europe/Nowhere", 0.0, 0.0, "once"), ("* * * * *", "../etc/passwd", 0.0, 0.0, "once"),
        ("", "UTC", 0.5, 0.0, "once"), ("", "UTC", 60.0, -1.0, "once"), ("", "UTC", 60.0, 0.0, "sometimes"),
        ("0 0 1 1 * " + "x" * 100, "UTC", 0.0, 0.0, "once"),
    ],
)  # fmt: skip
def test_what_can_t_be(cron: str, zone: str, every: float, jitter: float, missed: str) -> None:
    with pytest.raises(Invalid):
        due.check(cron, zone, every, jitter, missed)


def test_missed_times() -> None:
    every = Timing("", "UTC", 3600.0, START)
    first, now = START + timedelta(hours=1), START + timedelta(hours=5, minutes=30)
    upcoming = START + timedelta(hours=6)
    assert decide(every, "skip", first, now, busy=False) == Step(None, upcoming, skipped=True)
    assert decide(every, "once", first, now, busy=False) == Step(START + timedelta(hours=5), upcoming)
    assert decide(every, "all", first, now, busy=False) == Step(first, first + timedelta(hours=1))
    assert decide(every, "all", first, now, busy=True) == Step(None, first), "each has its turn"
    assert decide(every, "once", first, first, busy=True) == Step(None, first + timedelta(hours=1), skipped=True)
    late = START + timedelta(hours=1000)
    bounded = decide(every, "all", first, late, busy=False)
    assert bounded.run == late - timedelta(hours=CATCH_UP - 1)
    assert bounded.skipped


class Hands:
    """A clock that is set by hand, and the schedules that go by it."""

    def __init__(self, bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
        self.moment = datetime(2026, 6, 1, 12, tzinfo=UTC)
        self.bench = bench
        self.schedules = Schedules(bench.db, bench.jobs)
        self.clockwork = Clockwork(bench.db, bench.jobs)

        async def now(*_: Any) -> datetime:
            return self.moment

        monkeypatch.setattr(clock, "now", now)
        monkeypatch.setattr(schedules, "now", lambda: self.moment)
        monkeypatch.setattr(clockwork, "MEND", -1.0)

    async def pass_(self, **more: float) -> None:
        self.moment += timedelta(**more)
        while not await self.clockwork.turn():
            pass

    async def make(self, **more: Any) -> schedules.ScheduleRecord:
        wanted = Wanted(**{"name": "a", "kind": "a.b", "payload": {}, "every": 60.0, **more})
        return await self.schedules.create(wanted, tenant="default", owner="me")

    async def runs(self, id_: str) -> list[JobRecord]:
        return (await self.bench.jobs.list(schedule=id_, limit=200))[0]

    async def end_all(self) -> None:
        """As if every job had been run."""
        for job in (await self.bench.jobs.list(limit=200))[0]:
            await self.bench.jobs.cancel(job.id)


@pytest.fixture
def hands(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> Hands:
    return Hands(bench, monkeypatch)


def test_one_run_for_each_time_and_none_while_the_last_is_not_over(hands: Hands) -> None:
    async def work() -> None:
        made = await hands.make()
        await hands.pass_(seconds=59)
        assert await hands.runs(made.id) == []
        await hands.pass_(seconds=1)
        await hands.pass_(seconds=0)
        (job,) = await hands.runs(made.id)
        assert (job.tenant, job.owner, job.schedule) == ("default", "me", made.id)
        await hands.pass_(seconds=60)
        found = await hands.schedules.get(made.id)
        assert found is not None
        assert (len(await hands.runs(made.id)), found.skipped) == (1, 1)
        await hands.end_all()
        await hands.pass_(seconds=60)
        assert len(await hands.runs(made.id)) == 2

    hands.bench.store.run(work())


def test_two_processes_make_one_job(hands: Hands) -> None:
    async def work() -> None:
        made = await hands.make()
        others = [Clockwork(hands.bench.db, hands.bench.jobs) for _ in range(4)]
        hands.moment += timedelta(seconds=61)
        await asyncio.gather(*(each.turn() for each in others))
        assert len(await hands.runs(made.id)) == 1

    hands.bench.store.run(work())


def test_a_clock_that_jumps_neither_repeats_a_time_nor_stops_the_schedule(hands: Hands) -> None:
    async def work() -> None:
        made = await hands.make()
        await hands.pass_(seconds=60)
        await hands.end_all()
        await hands.pass_(days=365)  # by mistake
        await hands.end_all()
        await hands.pass_(days=-365)
        seen = len(await hands.runs(made.id))
        await hands.pass_(seconds=60)
        assert len(await hands.runs(made.id)) == seen + 1, "it goes on at once, not in a year"
        await hands.end_all()
        await hands.pass_(seconds=-90)
        await hands.pass_(seconds=60)
        await hands.pass_(seconds=30)
        keys = [each.key for each in await hands.runs(made.id)]
        assert len(keys) == len(set(keys)) == seen + 1, "times that were run are not run again"

    hands.bench.store.run(work())


def test_all_missed_times_are_made_up_for_one_after_the_other(hands: Hands) -> None:
    async def work() -> None:
        made = await hands.make(missed="all")
        await hands.pass_(minutes=5)
        for count in (1, 2, 3, 4, 5, 5):
            assert len(await hands.runs(made.id)) == count
            await hands.end_all()
            await hands.pass_(seconds=0)

    hands.bench.store.run(work())


def test_schedules_are_changed_paused_run_now_and_removed(hands: Hands) -> None:
    async def work() -> None:
        made = await hands.make(cron="0 3 * * *", every=0.0, zone="Europe/Berlin")
        assert made.next_at == at("2026-06-02T03:00+02:00")
        with pytest.raises(Taken):
            await hands.make()
        changed = await hands.schedules.change(made.id, Wanted(every=30.0))
        assert (changed.cron, changed.every, changed.next_at) == ("", 30.0, hands.moment + timedelta(seconds=30))
        paused = await hands.schedules.change(made.id, Wanted(paused=True))
        assert paused.next_at is None
        await hands.pass_(hours=1)
        assert await hands.runs(made.id) == []
        ran = await hands.schedules.run(made.id)
        assert [each.id for each in await hands.runs(made.id)] == [ran]
        going = await hands.schedules.change(made.id, Wanted(paused=False))
        assert going.next_at is not None
        assert going.next_at > hands.moment
        with pytest.raises(Missing):
            await hands.schedules.delete(made.id, "other")
        await hands.schedules.delete(made.id)
        assert await hands.schedules.get(made.id) is None

    hands.bench.store.run(work())


def test_a_tenant_has_so_many_schedules(hands: Hands, monkeypatch: pytest.MonkeyPatch) -> None:
    async def work() -> None:
        monkeypatch.setattr(schedules, "MOST", 2)
        for name in ("a", "b"):
            await hands.make(name=name)
        with pytest.raises(JobRefused):
            await hands.make(name="c")

    hands.bench.store.run(work())


def test_jitter_makes_a_run_late_but_not_lost(hands: Hands) -> None:
    async def work() -> None:
        made = await hands.make(jitter=30.0)
        await hands.pass_(seconds=60)
        (job,) = await hands.runs(made.id)
        assert job.run_at is None or hands.moment <= job.run_at <= hands.moment + timedelta(seconds=30)

    hands.bench.store.run(work())


def test_schedules_of_plugins_are_as_the_plugins_say(hands: Hands) -> None:
    async def work() -> None:
        mine = await hands.make(name="one", paused=True)  # the name is not taken by it
        first = Schedule("one", "a.b", {"n": 1}, every=60.0)
        await hands.schedules.bring([first, Schedule("two", "a.b", {}, cron="0 0 * * *")])
        await hands.schedules.bring([Schedule("one", "a.b", {"n": 2}, every=60.0)])
        assert [each.id for each in (await hands.schedules.list())[0]] == [mine.id], "users don't see those of plugins"
        await hands.pass_(seconds=61)
        (job,) = (await hands.bench.jobs.list())[0]
        assert job.payload == {"n": 2}

    hands.bench.store.run(work())


def test_it_looks_by_itself(bench: Bench) -> None:
    async def work() -> None:
        jobs = Schedules(bench.db, bench.jobs)
        made = await jobs.create(Wanted(name="a", kind="a.b", payload={}, every=1.0), tenant="default", owner="")
        ticking = Clockwork(bench.db, bench.jobs)
        ticking.start()

        async def ran() -> bool:
            return bool((await bench.jobs.list(schedule=made.id))[0])

        await eventually(ran, "a run")
        await ticking.stop()

    bench.store.run(work())
