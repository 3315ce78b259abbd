"""The short ways that the hot path takes: each gives what the plain way gives."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portico.edge.exchange import decimal
from portico.edge.http1.fields import OWS, stripped
from portico.edge.http1.names import TOKEN, VALUE, others
from portico.edge.http1.target import HOST_NAMES, PLAIN, TARGET, TARGETS


@pytest.mark.parametrize("allowed", [TOKEN, VALUE, TARGET, b"0", b"\x00", bytes(range(256)), b""])
def test_a_table_changes_every_byte_but_the_allowed_ones(allowed: bytes) -> None:
    table = others(allowed)
    same = [byte for byte in range(256) if bytes((byte,)).translate(table) == bytes((byte,))]
    assert same == sorted(set(allowed))


def test_what_the_tables_let_through() -> None:
    assert not {*b'#"<> \x00\x7f\x80'} & {byte for byte in range(256) if TARGETS[byte] == byte}
    assert {byte for byte in TARGET if PLAIN[byte] != byte} == {*b"%.\\"}
    assert not {*b":[]%/@ "} & {byte for byte in range(256) if HOST_NAMES[byte] == byte}


@given(st.lists(st.sampled_from([b" ", b"\t", b"a", b"\x80", b"!"])).map(b"".join))
def test_stripping(value: bytes) -> None:
    assert stripped(value) == value.strip(OWS)


@given(st.one_of(st.integers(-5, 2000), st.integers()))
def test_digits(number: int) -> None:
    assert decimal(number) == b"%d" % number
