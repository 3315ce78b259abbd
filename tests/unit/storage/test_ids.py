from __future__ import annotations

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from portico.storage.ids import is_id, made_at, uuid7


def test_is_a_uuid_of_version_7() -> None:
    made = UUID(uuid7())
    assert made.version == 7
    assert made.variant == "specified in RFC 4122"


def test_sorts_by_time_and_tells_it() -> None:
    before = datetime.now(UTC)
    ids = [uuid7() for _ in range(2000)]
    assert len(set(ids)) == len(ids)
    assert [each[:13] for each in ids] == sorted(each[:13] for each in ids)
    assert abs(made_at(ids[0]) - before) < timedelta(seconds=1)


@pytest.mark.parametrize(
    "text",
    ["", "x", "a" * 36, "\0", "018f3a4e-7b1c-4000-8000-000000000000", "018F3A4E-7B1C-7000-8000-000000000000", "\ud800"],
)
def test_knows_what_it_can_not_have_made(text: str) -> None:
    assert not is_id(text)
    assert is_id(uuid7())
