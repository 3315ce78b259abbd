"""Text with units → numbers. Messages never repeat the text: it may have come out of a secret."""

from __future__ import annotations

import math
import re
from decimal import Decimal
from fractions import Fraction
from typing import Any, Final

SIZE_PATTERN: Final = r"^[0-9]{1,15}(\.[0-9]{1,6})? ?(B|kB|KB|MB|GB|TB|KiB|MiB|GiB|TiB)?$"
DURATION_PATTERN: Final = r"^[0-9]{1,9}(\.[0-9]{1,6})? ?(ms|s|m|h|d)$"
RATIO_PATTERN: Final = r"^[0-9]{1,3}(\.[0-9]{1,6})? ?%$"
RATE_PATTERN: Final = r"^[1-9][0-9]{0,8}/(second|minute|hour|day)$"

_SIZES: Final = {
    "B": 1,
    "kB": 10**3,
    "KB": 10**3,
    "MB": 10**6,
    "GB": 10**9,
    "TB": 10**12,
    "KiB": 2**10,
    "MiB": 2**20,
    "GiB": 2**30,
    "TiB": 2**40,
}
_MILLISECONDS: Final = {"ms": 1, "s": 1000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
SECONDS: Final = {"second": 1, "minute": 60, "hour": 3600, "day": 86400}
_SIZE: Final = re.compile(r"([0-9]{1,15}(?:\.[0-9]{1,6})?) ?([kKMGT]?i?B)\Z", re.ASCII)
_DURATION: Final = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,6})?) ?(ms|s|m|h|d)\Z", re.ASCII)
_RATE: Final = re.compile(r"([1-9][0-9]{0,8})/(second|minute|hour|day)\Z", re.ASCII)
_RATIO: Final = re.compile(r"([0-9]{1,3}(?:\.[0-9]{1,6})?) ?%\Z", re.ASCII)

MAX_SIZE: Final = 2**50
MAX_SECONDS: Final = 365 * 86400


def size(value: Any) -> int:
    """Bytes: a whole number, or text such as `32KiB`, `16MiB`, `1GB`."""
    wrong = "must be a size: a number of bytes, or with a unit such as 32KiB, 16MiB or 1GB"
    if isinstance(value, str):
        found = _SIZE.match(value)
        unit = _SIZES.get(found[2]) if found else None
        if found is None or unit is None:
            value = _whole(value, wrong)
        else:
            exact = Fraction(Decimal(found[1])) * unit
            if exact.denominator != 1:
                raise ValueError("must be a whole number of bytes")
            value = int(exact)
    if not isinstance(value, int) or isinstance(value, bool):
        raise ValueError(wrong)
    if not 0 <= value <= MAX_SIZE:
        raise ValueError("must be a size from 0 to 1024TiB")
    return value


def duration(value: Any) -> float:
    """Seconds: text such as `500ms`, `10s`, `5m`, `1h`, `1d`; plain 0 needs no unit."""
    if value == 0 and not isinstance(value, bool):
        return 0.0
    found = _DURATION.match(value) if isinstance(value, str) else None
    if found is None:
        raise ValueError("must be a duration with a unit, such as 500ms, 10s, 5m or 1h")
    seconds = Fraction(Decimal(found[1])) * _MILLISECONDS[found[2]] / 1000
    if seconds > MAX_SECONDS:
        raise ValueError("must be a duration of at most 365d")
    return float(seconds)


def ratio(value: Any) -> float:
    """A share from 0 to 1: a number, or text such as `20%`."""
    wrong = "must be a share: a number from 0 to 1, or a percentage such as 20%"
    if isinstance(value, str):
        found = _RATIO.match(value)
        if found is None:
            raise ValueError(wrong)
        value = float(Fraction(Decimal(found[1])) / 100)
    if not isinstance(value, int | float) or isinstance(value, bool) or not math.isfinite(value):
        raise ValueError(wrong)
    if not 0 <= value <= 1:
        raise ValueError(wrong)
    return float(value)


def rate(value: Any) -> tuple[int, str]:
    """A count and its unit of time: `600/minute` is (600, "minute"); `SECONDS` has the unit's length."""
    found = _RATE.match(value) if isinstance(value, str) else None
    if found is None:
        raise ValueError("must be a rate such as 600/minute: a count, / and second, minute, hour or day")
    return int(found[1]), found[2]


def _whole(text: str, wrong: str) -> int:
    if not re.fullmatch(r"[0-9]{1,16}", text, re.ASCII):
        raise ValueError(wrong)
    return int(text)
