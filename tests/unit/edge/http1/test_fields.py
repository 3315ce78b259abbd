"""The field reader's own promises; the grammar's cases are in the conformance corpus."""

from __future__ import annotations

import pytest

from portico.edge.http1 import names
from portico.edge.http1.errors import HeadError
from portico.edge.http1.fields import FieldReader
from portico.edge.http1.names import KNOWN, LONGEST_NAME, LOOKALIKE, MOST_NAMES, Names


def read(block: bytes, request: bool = True, most: int = 100) -> FieldReader:
    reader = FieldReader(Names(), request, most)
    reader.take(block)
    return reader


def refused(block: bytes, request: bool = True, most: int = 100) -> tuple[int, str]:
    with pytest.raises(HeadError) as caught:
        read(block, request, most)
    return caught.value.status, caught.value.code


def test_an_empty_block() -> None:
    reader = read(b"")
    assert (reader.kept, reader.known, reader.get(b"host"), reader.get(b"x")) == (b"", {}, None, None)


def test_a_block_must_begin_with_crlf() -> None:
    assert refused(b"Host: a") == (400, "bad_field")
    assert refused(b"x\r\nHost: a") == (400, "bad_field")


def test_an_empty_line_within_is_refused() -> None:
    assert refused(b"\r\nA: b\r\n\r\nC: d") == (400, "bad_field")
    assert refused(b"\r\nA: b\r\n") == (400, "bad_field")


@pytest.mark.parametrize("byte", [byte for byte in range(256) if (byte < 32 and byte != 9) or byte == 127])
def test_every_control_character_is_refused(byte: int) -> None:
    assert refused(b"\r\nA: b" + bytes((byte,)) + b"c") == (400, "bad_field")


@pytest.mark.parametrize("byte", [byte for byte in range(256) if byte not in names.TOKEN])
def test_every_byte_but_token_characters_is_refused_in_a_name(byte: int) -> None:
    block = b"\r\nA" + bytes((byte,)) + b"B: c"
    if byte == ord(":"):
        assert read(block).get(b"a") == b"B: c"
    else:
        assert refused(block) == (400, "bad_field")


def test_a_response_is_refused_with_502() -> None:
    assert refused(b"\r\nA b", request=False) == (502, "bad_field")
    assert refused(b"\r\nA:b\r\nA:c", request=False, most=1) == (502, "too_many_fields")


def test_the_number_of_fields_is_bounded() -> None:
    assert read(b"\r\nA: b" * 3, most=3).get(b"a") == b"b, b, b"
    assert refused(b"\r\nA: b" * 4, most=3) == (431, "too_many_fields")


@pytest.mark.parametrize("name", sorted(KNOWN))
def test_a_second_singleton_is_refused_and_others_are_joined(name: bytes) -> None:
    block = b"\r\n" + name + b": 1\r\n" + name.upper() + b": 2"
    single = (b"host", b"content-length", b"transfer-encoding", b"authorization", b"x-api-key", b"content-type")
    if name in (*single, b"origin", b"expect"):
        assert refused(block) == (400, "duplicate_field")
    else:
        assert read(block).get(name) == b"1, 2"


def test_what_is_passed_on_of_a_request_and_of_a_response() -> None:
    block = b"".join(b"\r\n" + name + b": 1" for name in sorted(KNOWN) if name != b"connection")
    hop = {b"transfer-encoding", b"content-length", b"keep-alive", b"proxy-connection", b"te", b"trailer", b"upgrade"}
    hop |= {b"proxy-authenticate", b"proxy-authorization"}
    own = {b"host", b"expect", b"x-api-key", b"authorization", b"x-request-id", b"forwarded", b"x-forwarded-for"}
    own |= {b"x-forwarded-proto", b"x-forwarded-host", b"x-portico-principal"}
    for request, dropped in ((True, hop | own), (False, hop | {b"x-request-id"})):
        reader = read(block, request)
        kept = {line.partition(b":")[0] for line in reader.kept.split(b"\r\n")[1:]}
        assert kept == set(KNOWN) - dropped - {b"connection"}
        assert len(reader.known) == len(KNOWN) - 1


@pytest.mark.parametrize("name", [b"host", b"authorization", b"content-length", b"x-forwarded-for", b"upgrade"])
def test_connection_does_not_take_away_what_the_edge_reads(name: bytes) -> None:
    assert read(b"\r\n" + name + b": 1\r\nConnection: close, " + name).get(name) == b"1"


@pytest.mark.parametrize("name", [b"x-foo", b"cookie", b"content-type", b"etag"])
def test_connection_takes_away_everything_else(name: bytes) -> None:
    reader = read(b"\r\nConnection: " + name.upper() + b"\r\n" + name + b": 1\r\nX-Last: 2")
    assert (reader.get(name), reader.kept) == (None, b"\r\nX-Last: 2")


def test_get_compares_whole_names_in_any_case() -> None:
    reader = read(b"\r\nX-AB: 1\r\nAB: 2\r\nv: X-A: 3\r\naB:4 ")
    assert [reader.get(name) for name in (b"ab", b"x-ab", b"x-a", b"b")] == [b"2, 4", b"1", None, None]


def test_get_keeps_the_case_of_values() -> None:
    assert read(b"\r\nX-Foo: BaR").get(b"x-foo") == b"BaR"


def test_lookalikes_are_told_from_what_they_look_like() -> None:
    assert Names().learn(b"X_Portico-Principal") == LOOKALIKE
    assert Names().learn(b"content_length") == LOOKALIKE
    assert Names().learn(b"content_type") == names.OTHER


def test_the_memory_of_names_is_bounded_in_number() -> None:
    memory = Names()
    for i in range(MOST_NAMES + 100):
        assert memory.learn(b"X-%d" % i) == names.OTHER
    assert len(memory.kinds) == MOST_NAMES
    assert memory.learn(b"HOST") == names.HOST
    assert memory.learn(b"a b") == -1


def test_the_memory_of_names_is_bounded_in_size() -> None:
    memory = Names()
    before = len(memory.kinds)
    assert memory.learn(b"x" * (LONGEST_NAME + 1)) == names.OTHER
    assert len(memory.kinds) == before


def test_refused_names_are_not_remembered() -> None:
    memory = Names()
    for _ in range(2):
        with pytest.raises(HeadError):
            FieldReader(memory, True).take(b"\r\nHost : a")
    assert b"Host " not in memory.kinds
