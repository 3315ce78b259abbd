"""Sizes, durations, ratios, rates."""

from __future__ import annotations

from typing import Any

import pytest

from portico.config import units


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("32KiB", 32768),
        ("16MiB", 16 * 2**20),
        ("1GB", 10**9),
        ("1.5KiB", 1536),
        ("2 MB", 2_000_000),
        ("7B", 7),
        (0, 0),
        (4096, 4096),
        ("4096", 4096),
        ("1024TiB", 2**50),
    ],
)
def test_sizes(text: Any, value: int) -> None:
    assert units.size(text) == value


@pytest.mark.parametrize(
    "text", ["", "KiB", "1kib", "1K", "-1", -1, "1e3", True, None, 1.5, "1.0001KiB", "1025TiB", "٣KiB", "1iB", [1]]
)
def test_no_sizes(text: Any) -> None:
    with pytest.raises(ValueError, match="must be a"):
        units.size(text)


@pytest.mark.parametrize(
    ("text", "value"),
    [("500ms", 0.5), ("10s", 10.0), ("5m", 300.0), ("1h", 3600.0), ("1d", 86400.0), ("1.5s", 1.5), (0, 0)],
)
def test_durations(text: Any, value: float) -> None:
    assert units.duration(text) == value


@pytest.mark.parametrize("text", ["", "10", 10, "s", "-1s", "1w", "1 sec", None, True, False, "366d", "1e3s"])
def test_no_durations(text: Any) -> None:
    with pytest.raises(ValueError, match="must be a duration"):
        units.duration(text)


@pytest.mark.parametrize(
    ("text", "value"), [("20%", 0.2), (0.5, 0.5), (1, 1.0), (0, 0.0), ("100%", 1.0), ("12.5 %", 0.125)]
)
def test_ratios(text: Any, value: float) -> None:
    assert units.ratio(text) == value


@pytest.mark.parametrize("text", ["101%", 1.1, -0.1, "0.5", True, None, float("nan"), "%"])
def test_no_ratios(text: Any) -> None:
    with pytest.raises(ValueError, match="must be a share"):
        units.ratio(text)


def test_rates() -> None:
    assert units.rate("600/minute") == (600, "minute")
    assert {unit: units.rate(f"1/{unit}")[0] * seconds for unit, seconds in units.SECONDS.items()} == {
        "second": 1,
        "minute": 60,
        "hour": 3600,
        "day": 86400,
    }


@pytest.mark.parametrize(
    "text", ["0/minute", "600", 600, "600/min", "600 /minute", "-1/day", "1.5/second", None, "1/day "]
)
def test_no_rates(text: Any) -> None:
    with pytest.raises(ValueError, match="must be a rate such as 600/minute"):
        units.rate(text)
