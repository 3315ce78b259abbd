from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import Any, cast

import pytest

from portico.services.admin import ranges
from portico.services.problems import Refused
from portico.storage.tables.usage import DAY, HOUR, MINUTE
from portico.storage.usage import Retention

NOW = 1_790_035_200 + 17 * HOUR + 1234.5
KEPT = Retention(cast(Any, None), 7 * DAY, 90 * DAY, 1826 * DAY)


@pytest.fixture(autouse=True)
def now(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(time, "time", lambda: NOW)


def ago(**what: float) -> datetime:
    return datetime.fromtimestamp(NOW, UTC) - timedelta(**what)


def test_a_day_until_now_is_what_is_usual() -> None:
    found = ranges.whole(None, None, KEPT)
    assert (found.start, found.end) == (NOW // HOUR * HOUR - DAY, NOW // HOUR * HOUR + HOUR)
    assert ranges.stepped(None, None, None, KEPT).span == HOUR


def test_ends_are_widened_to_whole_steps() -> None:
    found = ranges.stepped(ago(minutes=10), ago(minutes=2), "minute", KEPT)
    assert found.start <= NOW - 600 < found.start + MINUTE
    assert found.end - MINUTE < NOW - 120 <= found.end
    assert len(list(found.steps())) == 9


def test_sums_from_before_the_hours_that_are_kept_are_of_days() -> None:
    assert ranges.whole(ago(days=89), None, KEPT).span == HOUR
    assert ranges.whole(ago(days=91), None, KEPT).span == DAY


@pytest.mark.parametrize(("back", "span"), [({"hours": 2}, MINUTE), ({"days": 7}, HOUR), ({"days": 60}, DAY)])
def test_without_a_step_there_are_not_too_many_points(back: dict[str, float], span: int) -> None:
    assert ranges.stepped(ago(**back), None, None, KEPT).span == span


@pytest.mark.parametrize(
    ("back", "until", "step", "code", "hint"),
    [
        ({"days": 2}, {}, "minute", "too_many_points", "step=hour"),
        ({"days": 80}, {}, "hour", "too_many_points", "step=day"),
        ({"days": 1700}, {}, "day", "too_many_points", "1500 days"),
        ({"days": 10}, {"days": 9.9}, "minute", "range_not_kept", "step=hour"),
        ({"days": 100}, {"days": 99}, "hour", "range_not_kept", "step=day"),
        ({"days": 100}, {"days": 99}, "minute", "range_not_kept", "step=day"),
        ({"days": 1}, {"days": 2}, "hour", "range_backwards", "exchange"),
    ],
)
def test_what_can_t_be_told_is_refused_with_what_can(
    back: dict[str, float], until: dict[str, float], step: Any, code: str, hint: str
) -> None:
    with pytest.raises(Refused) as refused:
        ranges.stepped(ago(**back), ago(**until), step, KEPT)
    assert (refused.value.status_code, refused.value.code) == (422, code)
    assert hint in refused.value.hint


def test_ages_and_times_to_come_are_cut_to_what_is_known() -> None:
    earliest, latest = datetime(1, 1, 2, tzinfo=UTC), datetime(9999, 12, 30, tzinfo=UTC)
    found = ranges.whole(earliest, latest, KEPT)
    assert found.start == KEPT.oldest(DAY, NOW)
    assert found.end <= NOW + 2 * DAY
    nothing = ranges.whole(latest, latest, KEPT)
    assert nothing.start == nothing.end
