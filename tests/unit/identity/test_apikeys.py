from __future__ import annotations

import hashlib
import re
import zlib

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portico.identity import apikeys

KNOWN = b"pk_" + b"0" * 43  # what checks it is computed below by other means


def test_a_key_is_52_characters_that_no_two_share() -> None:
    keys = [apikeys.generate() for _ in range(500)]
    assert len(set(keys)) == 500
    for key in keys:
        assert re.fullmatch("pk_[0-9A-Za-z]{49}", key)
        assert apikeys.well_formed(key.encode())
        assert apikeys.hint(key) == key[:10]
    assert len({key[3] for key in keys}) > 40  # the first character is random too


def test_the_checksum_is_the_crc_32_in_base_62() -> None:
    number, digits = zlib.crc32(KNOWN), b""
    for _ in range(6):
        number, digit = divmod(number, 62)
        digits = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"[digit : digit + 1] + digits
    assert apikeys.well_formed(KNOWN + digits)


def test_what_is_kept_is_the_sha_256() -> None:
    key = apikeys.generate().encode()
    assert apikeys.digest(key) == hashlib.sha256(key).digest()


@given(st.integers(0, 51), st.integers(0, 255))
def test_no_character_can_be_another(at: int, byte: int) -> None:
    key = bytearray(apikeys.generate().encode())
    if key[at] != byte:
        key[at] = byte
        assert not apikeys.well_formed(bytes(key))


@pytest.mark.parametrize(
    "text", [b"", b"pk_", b"pk_short", b"sk_" + b"0" * 49, b"pk_" + b"0" * 50, b"pk_" + b"\xff" * 49]
)
def test_anything_else_is_none(text: bytes) -> None:
    assert not apikeys.well_formed(text)


@given(st.binary(max_size=60))
def test_no_bytes_raise(text: bytes) -> None:
    assert not apikeys.well_formed(text)
