from __future__ import annotations

import hashlib

import pytest

from portico.contracts import Key
from portico.identity.keys import Keys, hash_key

TABLE = Keys((Key("one", hash_key("pk_one"), ("a:b",), "acme"), Key("two", hash_key("pk_two").upper())))


def test_a_key_is_found_by_its_hash() -> None:
    found = TABLE.find(b"pk_one")
    assert found is not None
    assert (found.id, found.kind, found.tenant, found.permissions) == ("one", "key", "acme", ("a:b",))
    assert TABLE.find(b"pk_one") is found
    other = TABLE.find(b"pk_two")
    assert other is not None
    assert (other.id, other.tenant) == ("two", "default")
    assert len(TABLE) == 2


@pytest.mark.parametrize("presented", [b"", b"pk_on", b"pk_one ", b"PK_ONE", hash_key("pk_one").encode()])
def test_others_are_not(presented: bytes) -> None:
    assert TABLE.find(presented) is None


@pytest.mark.parametrize("key", ["a b", "ü", "a\tb", "a\x7f", "a" * 513])
def test_what_cannot_be_a_key_is_refused_even_if_its_hash_is_there(key: str) -> None:
    table = Keys((Key("odd", hash_key(key)),))
    assert table.find(key.encode()) is None


def test_the_longest_key() -> None:
    assert Keys((Key("long", hash_key("a" * 512)),)).find(b"a" * 512) is not None


def test_hash_key_is_sha256_in_hex() -> None:
    assert hash_key("pk_one") == hashlib.sha256(b"pk_one").hexdigest()
