from __future__ import annotations

import uuid

import pytest
from tests.unit.edge.policies.kit import context, exchange

from portico.edge.policies.request_id import RequestIds, build, new_request_id


@pytest.mark.parametrize("given", [b"a", b"A-Z_0.9", b"x" * 128])
def test_a_sane_id_is_kept(given: bytes) -> None:
    asked = exchange(b"\r\nX-Request-Id: " + given)
    assert build({}, context()).check(asked) is None
    assert asked.request_id == given


@pytest.mark.parametrize("given", [b"", b"x" * 129, b"a b", b'a"b', b"a\xff", b"a/b", b"a,b"])
def test_another_is_replaced(given: bytes) -> None:
    asked = exchange(b"\r\nX-Request-Id: " + given)
    build({}, context()).check(asked)
    assert uuid.UUID(asked.request_id.decode()).version == 7


def test_two_ids_are_none() -> None:
    asked = exchange(b"\r\nX-Request-Id: a\r\nX-Request-Id: b")
    build({}, context()).check(asked)
    assert len(asked.request_id) == 36


def test_made_ids_are_uuid7_of_the_time_and_all_different() -> None:
    ids = RequestIds()
    made = [ids.make(1_700_000_000.123) for _ in range(2000)]
    assert len(set(made)) == 2000
    for text in [*made, new_request_id(1_700_000_000.123)]:
        value = uuid.UUID(text.decode())
        assert value.version == 7
        assert value.variant == uuid.RFC_4122
        assert value.int >> 80 == 1_700_000_000_123
        assert str(value).encode() == text


def test_made_ids_sort_by_time() -> None:
    ids = RequestIds()
    made = [ids.make(1_700_000_000 + second / 1000) for second in range(1, 3000)]
    assert sorted(made) == made


def test_all_random_bits_vary() -> None:
    ids = RequestIds()
    ones = zeros = 0
    for _ in range(400):
        value = uuid.UUID(ids.make(0.0).decode()).int
        ones |= value
        zeros |= ~value
    random = ((1 << 12) - 1 << 64) | (1 << 62) - 1
    assert ones & random == random
    assert zeros & random == random


def test_peek_names_the_request_too() -> None:
    asked = exchange()
    step = build({}, context())
    assert step.peek is not None
    assert step.peek(asked) is None
    assert len(asked.request_id) == 36
