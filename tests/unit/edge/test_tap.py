"""What an answer says that it has cost, however its bytes are cut."""

from __future__ import annotations

import itertools
import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from portico.edge.http1.fields import FieldReader
from portico.edge.http1.names import Names
from portico.edge.tap import LONGEST, UNTOLD, Tap, number

USAGE = {"prompt_tokens": 9, "completion_tokens": 12, "total_tokens": 21, "details": {"cached": 0}}
ANSWER = {"id": "x", "choices": [{"message": {"content": 'say "usage": {"total_tokens": 1}'}}], "usage": USAGE}
STREAM = "".join(
    f"data: {json.dumps(each)}\n\n"
    for each in (
        {"choices": [{"delta": {"content": '"usage": {"total_tokens": 7}'}}], "usage": None},
        {"choices": [], "usage": {"total_tokens": 5}},
        {"choices": [], "usage": USAGE},
    )
)


def head(block: bytes = b"") -> FieldReader:
    fields = FieldReader(Names(), False)
    fields.take(block)
    return fields


def read(pieces: list[bytes], block: bytes = b"") -> int:
    tap = Tap()
    tap.counts = True
    tap.head(head(block))
    for piece in pieces:
        tap.feed(piece)
        assert len(tap._kept) <= LONGEST
    return tap.tokens


def cut(data: bytes, places: list[int]) -> list[bytes]:
    edges = sorted({0, len(data), *(place % (len(data) + 1) for place in places)})
    return [data[start:end] for start, end in itertools.pairwise(edges)]


@example(places=list(range(2000)))
@given(st.lists(st.integers(0, 2000), max_size=12))
def test_wherever_it_is_cut(places: list[int]) -> None:
    for text in (
        json.dumps(ANSWER),
        json.dumps(ANSWER, indent=2),
        json.dumps({"usage": USAGE, "choices": ["x" * 900]}),
    ):
        assert read(cut(text.encode(), places)) == 21
    assert read(cut((STREAM + "data: [DONE]\n\n").encode(), places)) == 21


def test_a_large_answer_is_not_kept() -> None:
    text = json.dumps({"usage": USAGE, "choices": ["usage " * 200_000]}).encode()
    assert read([text[at : at + 65536] for at in range(0, len(text), 65536)]) == 21


@pytest.mark.parametrize(
    "usage",
    [None, 5, [], {}, {"total_tokens": "9"}, {"total_tokens": -1}, {"total_tokens": 1.5}, {"total_tokens": True},
     {"total_tokens": 10**15}, {"total_tokens": None}],
)  # fmt: skip
def test_what_is_no_cost(usage: object) -> None:
    assert read([json.dumps({"usage": usage}).encode()]) == UNTOLD


def test_what_can_not_be_read() -> None:
    assert read([json.dumps(ANSWER).encode()], b"\r\nContent-Encoding: gzip") == UNTOLD
    assert read([json.dumps(ANSWER).encode()], b"\r\nContent-Encoding: identity") == 21
    assert read([b'{"usage":' + b"[" * 9000]) == UNTOLD
    assert read([b'{"usage":{"a":' + b"[" * 5000]) == UNTOLD
    assert read([b'{"usage":{"total_tokens":' + b"9" * 6000 + b"}}"]) == UNTOLD
    assert read([b'"usage"', b"\xff\xfe", b'"usage":{"a":"\xff","total_tokens":3}']) == 3
    assert read([b'{"usage":{"a":"' + b"x" * LONGEST, b'","total_tokens":3}}']) == UNTOLD, "longer than any usage is"


@pytest.mark.parametrize(
    ("value", "told"),
    [(b"12", 12), (b"0", 0), (b"007", 7), (b"9" * 15, 10**15 - 1), (b"9" * 16, -1), (b"-1", -1), (b"+1", -1),
     (b"1.5", -1), (b"1, 2", -1), (b"", -1), (b"\xb2", -1), (None, -1)],
)  # fmt: skip
def test_a_field_is_a_whole_number_or_nothing(value: bytes | None, told: int) -> None:
    assert number(value) == told


def test_the_fields_that_are_asked_for() -> None:
    tap = Tap()
    tap.asked = {b"x-cost": UNTOLD, b"x-none": UNTOLD}
    tap.head(head(b"\r\nX-Cost: 17\r\nX-Other: 3"))
    tap.feed(b'"usage":{"total_tokens":3}')
    assert tap.asked == {b"x-cost": 17, b"x-none": UNTOLD}
    assert tap.tokens == UNTOLD
