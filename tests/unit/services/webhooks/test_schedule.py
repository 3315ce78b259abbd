"""What follows an attempt to deliver."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portico.services.webhooks.schedule import Called, failed_for_long, follow, retry_after
from portico.services.webhooks.settings import STEPS
from portico.storage.webhooks import Due

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def called(status: int | None, again: float = 0.0) -> Called:
    return Called(NOW, status, b"", 0.0, "" if status else "no answer", again)


def due(step: int = 0) -> Due:
    return Due("id", "test", "", b"{}", step, step)


@pytest.mark.parametrize("status", [200, 201, 204, 299])
def test_only_2xx_is_success(status: int) -> None:
    result = follow(called(status), due(), STEPS, 3, 0.0, last=False)
    assert (result.state, result.succeeded, result.next_at) == ("succeeded", True, None)


@pytest.mark.parametrize("status", [None, 100, 199, 300, 302, 304, 400, 404, 429, 500, 503])
def test_all_else_is_tried_again(status: int | None) -> None:
    result = follow(called(status), due(), STEPS, 3, 0.0, last=False)
    assert (result.state, result.succeeded, result.next_at) == ("pending", False, NOW + timedelta(seconds=5))


def test_the_schedule_is_the_documented_one_and_retry_count_says_how_much_of_it_is_used() -> None:
    assert STEPS == (5, 300, 1800, 7200, 18000, 36000)
    for retries in range(8):
        pauses = []
        step = 0
        while True:
            result = follow(called(500), due(step), STEPS, retries, 0.0, last=False)
            step = result.step
            if result.next_at is None:
                break
            pauses.append((result.next_at - NOW).total_seconds())
        assert result.state == "failed"
        assert tuple(pauses) == STEPS[:retries]


@given(st.floats(0, 1), st.integers(0, 5))
def test_jitter_only_makes_a_step_longer(chance: float, step: int) -> None:
    result = follow(called(500), due(step), STEPS, 6, chance, last=False)
    assert result.next_at is not None
    pause = (result.next_at - NOW).total_seconds()
    assert STEPS[step] <= pause <= STEPS[step] * 1.2 + 1e-3


def test_410_and_the_last_attempt_end_it() -> None:
    assert follow(called(410), due(), STEPS, 3, 0.0, last=False).state == "failed"
    assert follow(called(500), due(), STEPS, 3, 0.0, last=True).state == "failed"
    assert follow(called(200), due(), STEPS, 3, 0.0, last=True).state == "succeeded"


def test_retry_after_puts_the_next_attempt_off_but_never_forward() -> None:
    later = follow(called(503, 60.0), due(), STEPS, 3, 0.0, last=False)
    assert later.next_at == NOW + timedelta(seconds=60)
    assert follow(called(503, 1.0), due(), STEPS, 3, 0.0, last=False).next_at == NOW + timedelta(seconds=5)


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("0", 0), ("120", 120), ("9999999999", 86400), ("-1", 0), ("1.5", 0), ("", 0), ("soon", 0), ("٣", 0),
        ("Thu, 01 Jan 2026 00:01:00 GMT", 60), ("Wed, 31 Dec 2025 00:00:00 GMT", 0),
        ("Fri, 01 Jan 2038 00:00:00 GMT", 86400), ("Thu, 99 Jan 2026 00:01:00 GMT", 0), ("9" * 400, 0),
    ],
)  # fmt: skip
def test_retry_after_is_a_number_or_a_date_and_at_most_a_day(text: str, seconds: float) -> None:
    assert retry_after(text, NOW) == seconds


@given(st.text(max_size=60))
def test_whatever_retry_after_says_it_is_bounded(text: str) -> None:
    assert 0 <= retry_after(text, NOW) <= 86400


def test_five_days_of_failures_are_too_many() -> None:
    assert not failed_for_long(None, NOW)
    assert not failed_for_long(NOW - timedelta(days=4, hours=23), NOW)
    assert failed_for_long(NOW - timedelta(days=5), NOW)
