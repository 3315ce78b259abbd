"""The strict reader of JSON."""

from __future__ import annotations

import asyncio
import json
import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portico.services.inputs import LONG, MAX_DEPTH, MOST_VALUES, JsonError, JsonRequest, is_json, parse
from portico.services.problems import Refused

TEXTS = st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20)
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**18), 10**18)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=20,
)


@given(VALUES)
def test_what_any_writer_writes_is_read_as_it_was_meant(value: object) -> None:
    assert parse(json.dumps(value).encode()) == value
    assert parse(json.dumps(value, ensure_ascii=False, indent=1).encode()) == value


@given(st.binary(max_size=60))
def test_any_bytes_are_read_or_refused_in_one_way(data: bytes) -> None:
    try:
        value = parse(data)
    except JsonError:
        return
    json.dumps(value, allow_nan=False).encode()
    assert value == json.loads(data)


@given(VALUES, TEXTS)
def test_a_name_that_comes_twice_is_refused_wherever_it_is(value: object, name: str) -> None:
    key = json.dumps(name)
    twice = f'{{"a":[{json.dumps(value)},{{{key}:1,{key}:2}}]}}'
    with pytest.raises(JsonError, match="twice"):
        parse(twice.encode())


@pytest.mark.parametrize(("text", "value"), [(b"1.0", 1), (b"-3e2", -300), (b"9007199254740992.0", 2**53)])
def test_a_whole_number_is_one_however_it_is_written(text: bytes, value: int) -> None:
    assert parse(text) == value
    assert isinstance(parse(text), int)


def test_fractions_and_large_numbers_stay_what_they_are() -> None:
    assert parse(b"0.5") == 0.5
    assert isinstance(parse(b"1e300"), float)
    assert math.copysign(1, parse(b"-0.5")) == -1


def test_depth_is_bounded_at_the_same_place_for_lists_and_objects() -> None:
    assert parse(b"[" * (MAX_DEPTH - 1) + b"]" * (MAX_DEPTH - 1)) is not None
    for opening, closing in ((b"[", b"]"), (b'{"a":', b"}")):
        for depth in (MAX_DEPTH + 1, 900, 100_000):
            with pytest.raises(JsonError):
                parse(opening * depth + b"1" + closing * depth)


def test_a_refusal_says_nothing_back() -> None:
    for text in (b'{"password":"hunter2"', b'["hunter2\\u0000"]', b'{"hunter2":1,"hunter2":2}', b'"hunter2' + b"\xff"):
        with pytest.raises(JsonError) as raised:
            parse(text)
        assert "hunter2" not in str(raised.value)


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("application/json", True), ("Application/JSON ; charset=utf-8", True), ("application/problem+json", True),
        ("text/json", False), ("application/jsonx", False), ("", False), ("application/", False), ("x+json", False),
        ("multipart/form-data; boundary=application/json", False),
    ],
)  # fmt: skip
def test_media_types_of_json(kind: str, expected: bool) -> None:
    assert is_json(kind) is expected


async def sent(body: bytes) -> Any:
    """What a request with this body holds."""

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    return await JsonRequest({"type": "http", "method": "POST", "headers": []}, receive).json()


def test_others_are_answered_while_a_long_body_is_read() -> None:
    value = [{"text": "\U0001f600" * 10_000}] * 20

    async def work() -> tuple[int, Any]:
        reading = asyncio.create_task(sent(json.dumps(value).encode()))
        turns = -1  # that in which it begins
        while not reading.done():
            await asyncio.sleep(0)
            turns += 1
        return turns, reading.result()

    turns, found = asyncio.run(work())
    assert turns > 0
    assert found == value


@pytest.mark.parametrize("piece", [[], {}, [[[]]], {"a": {}}, None, ""])
def test_a_long_body_of_very_many_values_is_refused(piece: Any) -> None:
    body = json.dumps([piece] * (MOST_VALUES + 1)).encode().ljust(LONG + 1)
    with pytest.raises(Refused, match="values"):
        asyncio.run(sent(body))
    assert parse(body) == [piece] * (MOST_VALUES + 1), "its length is what it is refused for"


@pytest.mark.parametrize("text", [",[{" * 20_000, '\\",[' * 20_000, ',"[' * 20_000])
def test_what_stands_in_texts_is_no_value(text: str) -> None:
    for value in ([text] * 5, {text: [text] * 5}):
        assert asyncio.run(sent(json.dumps(value).encode().ljust(LONG + 1))) == value
    for torn in (b'["' + b",[" * LONG, b'["' + b'\\"' * LONG, b'["\\' + b"," * LONG + b"\\"):
        with pytest.raises(Refused):
            asyncio.run(sent(torn))
