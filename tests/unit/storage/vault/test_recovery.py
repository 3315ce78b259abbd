"""The recovery key as text: any 32 bytes come back, and a slip is found by its group."""

from __future__ import annotations

import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portico.errors import VaultError
from portico.storage.vault import recovery


@given(st.binary(min_size=32, max_size=32))
def test_comes_back(key: bytes) -> None:
    text = recovery.write(key)
    assert len(text.split("-")) == 13
    assert recovery.read(text) == key
    assert recovery.read(text.lower().replace("-", " ")) == key
    assert recovery.read(text.replace("0", "o").replace("1", "l") + "\n") == key


def test_a_slip_is_named_by_its_group() -> None:
    text = recovery.write(os.urandom(32))
    groups = text.split("-")
    found = 0
    for index, group in enumerate(groups):
        for at in range(5):
            other = "Z" if group[at] != "Z" else "Y"
            slipped = [*groups[:index], group[:at] + other + group[at + 1 :], *groups[index + 1 :]]
            try:
                recovery.read("-".join(slipped))
            except VaultError as error:
                found += f"group {index + 1}" in str(error)
    assert found >= 50  # of 65; a check character lets one slip in 32 pass, and the cipher finds that


def test_groups_in_another_order_are_found() -> None:
    groups = recovery.write(bytes(range(32))).split("-")
    with pytest.raises(VaultError, match="mistyped in group 1"):
        recovery.read("-".join([groups[1], groups[0], *groups[2:]]))


@pytest.mark.parametrize("text", ["", "ABCDE", "AAAAA-" * 14, "u" * 65, "é" * 65])
def test_what_is_no_recovery_key(text: str) -> None:
    with pytest.raises(VaultError):
        recovery.read(text)
