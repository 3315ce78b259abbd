"""Any split of the bytes gives the same messages, the same error and the same rest."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.conformance.http1.corpus import Case, load
from tests.conformance.http1.driver import Reading, read_requests, read_responses

REQUESTS = load("requests")
RESPONSES = load("responses")
SMALL = [case for case in REQUESTS if len(case.raw) < 1000]

splits = st.lists(st.integers(0, 2000), max_size=12)


def cut(raw: bytes, places: list[int]) -> list[bytes]:
    """The bytes in pieces, empty ones included, cut at the places."""
    edges = [0, *sorted(min(place, len(raw)) for place in places), len(raw)]
    return [raw[a:b] for a, b in pairwise(edges)]


@given(st.lists(st.sampled_from(SMALL), min_size=1, max_size=4), splits)
def test_requests(cases: list[Case], places: list[int]) -> None:
    raw = b"".join(case.raw for case in cases)
    assert same(read_requests(cut(raw, places)), read_requests([raw]))


@given(st.lists(st.sampled_from(RESPONSES), min_size=1, max_size=4), splits)
def test_responses(cases: list[Case], places: list[int]) -> None:
    raw = b"".join(case.raw for case in cases)
    methods = [case.to for case in cases]
    assert same(read_responses(cut(raw, places), methods), read_responses([raw], methods))


@pytest.mark.parametrize("case", SMALL, ids=lambda case: case.name)
def test_every_split_in_two(case: Case) -> None:
    whole = read_requests([case.raw])
    for place in range(1, len(case.raw)):
        assert same(read_requests([case.raw[:place], case.raw[place:]]), whole)


def same(one: Reading, other: Reading) -> bool:
    """Whether two readings agree; of a body that broke off, more may have come out before the error was seen."""
    if one.error and one.messages and other.messages:
        one.messages[-1].body = other.messages[-1].body = b""
    return one == other
