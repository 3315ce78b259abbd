from __future__ import annotations

import csv
import io
from datetime import UTC, datetime

import pytest
from fastapi import Request
from hypothesis import given
from hypothesis import strategies as st

from portico.services import csv_text

TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=("Cs",)))


@given(st.lists(st.lists(TEXT, min_size=2, max_size=4), max_size=5))
def test_readers_read_back_what_was_written(rows: list[list[str]]) -> None:
    written = "".join(csv_text.line(row) for row in rows)
    read = list(csv.reader(io.StringIO(written, newline=""), strict=True))
    assert [[cell.removeprefix("'") for cell in row] for row in read] == [
        [cell.removeprefix("'") for cell in row] for row in rows
    ]


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1"])
def test_no_spreadsheet_computes_a_text(text: str) -> None:
    assert csv_text.line([text]).strip('"').startswith("'")


def test_numbers_times_and_nothing() -> None:
    moment = datetime(2026, 1, 31, 12, tzinfo=UTC)
    assert csv_text.line([-5, 0.25, None, moment, 'a "b", c']) == '-5,0.25,,2026-01-31T12:00:00.000Z,"a ""b"", c"\r\n'


def asking(accept: str) -> Request:
    return Request({"type": "http", "headers": [(b"accept", accept.encode())]})


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        ("text/csv", True), ("text/csv, application/json;q=0.5", True), ("application/json, text/csv;q=0.9", False),
        ("*/*", False), ("", False), ("text/csv;q=0", False), ("text/csv;q=x", False),
        ("TEXT/CSV; q=0.4, */*;q=0.1", True),
    ],
)  # fmt: skip
def test_accept_chooses(accept: str, expected: bool) -> None:
    assert csv_text.wanted(asking(accept), None) is expected


def test_the_parameter_beats_accept() -> None:
    assert csv_text.wanted(asking("application/json"), "csv")
    assert not csv_text.wanted(asking("text/csv"), "json")
