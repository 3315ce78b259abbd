"""The journal of quotas: what is counted survives, whoever writes it and however they end."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.edge.policies.kit import context, exchange, principal

from portico.edge.exchange import Step
from portico.edge.limits import ledger as ledger_module
from portico.edge.limits.ledger import NAME, RECORD, Ledger
from portico.edge.policies.quota import LEDGER, build

DAY = 86_400
NOON = 19_000 * DAY + DAY / 2


def opened(folder: Path, wall: float = NOON, owner: str = "") -> Ledger:
    ledger = Ledger(str(folder), owner)
    ledger.open(wall)
    return ledger


def quota(ledger: Ledger, count: int = 10) -> Step:
    shared: dict[Any, Any] = {LEDGER: ledger}
    return build({"count": count, "by": "key", "name": f"{count}/day"}, context(shared))


def admitted(step: Step, number: int, who: str = "ada", wall: float = NOON) -> int:
    return sum(step.check(exchange(wall=wall, principal=principal(who))) is None for _ in range(number))


def crash(ledger: Ledger) -> None:
    """End as a killed process does."""
    os.close(ledger.file)


def test_counts_survive_a_stop_and_a_kill(tmp_path: Path) -> None:
    first = opened(tmp_path)
    step = quota(first)
    assert admitted(step, 4) == 4
    assert admitted(step, 3, "bob") == 3
    first.flush(NOON)
    assert admitted(step, 2) == 2
    first.close(NOON)
    second = opened(tmp_path)
    step = quota(second)
    assert step.peek is not None
    looked = exchange(wall=NOON, principal=principal())
    step.peek(looked)
    assert b";r=3;" in looked.response_fields, "a look sees the journal, and takes nothing from it"
    assert admitted(step, 3) == 3
    second.flush(NOON)
    assert admitted(step, 20) == 1, "not flushed: this one is what a kill may lose"
    crash(second)
    third = quota(opened(tmp_path))
    assert admitted(third, 20) == 1
    assert admitted(third, 20, "bob") == 7


def test_a_day_is_forgotten_at_its_end(tmp_path: Path) -> None:
    first = opened(tmp_path)
    admitted(quota(first), 10)
    first.close(NOON)
    assert admitted(quota(opened(tmp_path, NOON + DAY)), 20, wall=NOON + DAY) == 10


def test_a_day_that_ends_while_it_is_open(tmp_path: Path) -> None:
    ledger = opened(tmp_path)
    step = quota(ledger)
    admitted(step, 10)
    assert admitted(step, 4, wall=NOON + DAY) == 4
    ledger.flush(NOON + DAY)
    assert admitted(step, 1, wall=NOON + DAY) == 1
    ledger.close(NOON + DAY)
    assert admitted(quota(opened(tmp_path, NOON + DAY)), 20, wall=NOON + DAY) == 5


def test_the_old_process_still_counts_while_the_new_one_does(tmp_path: Path) -> None:
    old = opened(tmp_path)
    draining = quota(old)
    admitted(draining, 2)
    old.flush(NOON)
    new = opened(tmp_path)
    step = quota(new)
    assert admitted(step, 1) == 1
    assert admitted(draining, 3) == 3
    old.close(NOON)
    new.flush(NOON)
    assert admitted(step, 1) == 1
    new.flush(NOON)
    assert admitted(step, 20) == 10 - 2 - 1 - 3 - 1
    new.close(NOON)
    assert admitted(quota(opened(tmp_path)), 20) == 0


def test_workers_that_count_for_themselves_do_not_see_each_other(tmp_path: Path) -> None:
    one, other = opened(tmp_path, owner="0/2"), opened(tmp_path, owner="1/2")
    assert admitted(quota(one), 20) == 10
    one.close(NOON)
    other.flush(NOON)
    assert admitted(quota(other), 20) == 10
    assert admitted(quota(opened(tmp_path, owner="0/2")), 20) == 0


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 200), st.binary(max_size=40))
def test_a_torn_or_altered_journal_is_read_as_far_as_it_is_sound(
    tmp_path_factory: pytest.TempPathFactory, cut: int, noise: bytes
) -> None:
    folder = tmp_path_factory.mktemp("journal")
    first = opened(folder)
    step = quota(first)
    for _ in range(5):
        admitted(step, 1)
        first.flush(NOON)
    first.close(NOON)
    path = folder / NAME
    whole = path.read_bytes()
    assert len(whole) == 5 * RECORD.size
    path.write_bytes(whole[:cut] + noise)
    left = min(cut, len(whole)) // RECORD.size
    assert admitted(quota(opened(folder)), 20) == 10 - left


def test_no_caller_and_no_credential_is_on_disk(tmp_path: Path) -> None:
    ledger = opened(tmp_path)
    shared: dict[Any, Any] = {LEDGER: ledger}
    step = build({"count": 10, "by": "header:x-api-key", "name": "secret-plan"}, context(shared))
    step.check(exchange(b"\r\nX-API-Key: pk_very_secret", wall=NOON))
    ledger.close(NOON)
    kept = (tmp_path / NAME).read_bytes()
    assert kept
    assert b"secret" not in kept
    assert (tmp_path / NAME).stat().st_mode & 0o777 == 0o600


def test_a_long_journal_is_written_anew_unless_another_has_it_open(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledger_module, "LONG", 100 * RECORD.size)
    first, other = opened(tmp_path), opened(tmp_path)
    step = quota(first, 1000)
    for _ in range(120):
        admitted(step, 1)
        first.callers = 1
        first.flush(NOON)
    assert (tmp_path / NAME).stat().st_size == 120 * RECORD.size
    other.close(NOON)
    admitted(step, 1)
    first.callers = 1
    first.flush(NOON)
    assert (tmp_path / NAME).stat().st_size <= 2 * RECORD.size
    admitted(step, 2)
    first.close(NOON)
    assert admitted(quota(opened(tmp_path), 1000), 2000) == 1000 - 123


def test_a_directory_that_can_t_be_written_costs_no_request(tmp_path: Path) -> None:
    ledger = opened(tmp_path / "nowhere")
    step = quota(ledger)
    assert admitted(step, 12) == 10
    ledger.flush(NOON)
    ledger.close(NOON)
