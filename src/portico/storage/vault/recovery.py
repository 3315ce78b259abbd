"""The recovery key as people write it down: 13 groups of five characters, the last of each a check of its group.

256 random bits in Crockford's base 32, which has no I, L, O or U. A group with a slip of the pen is named by number.
"""

from __future__ import annotations

import hashlib
from typing import Final

from portico.errors import VaultError
from portico.storage.vault.crypto import KEY

ALPHABET: Final = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
READ_AS: Final = str.maketrans({"O": "0", "I": "1", "L": "1", "-": None, " ": None, "\t": None, "\n": None})
GROUPS: Final = 13
DATA: Final = 4  # characters of a group that carry the key: 52 in all, of which the last has one bit


def write(key: bytes) -> str:
    """The 32 bytes as text."""
    number = int.from_bytes(key, "big") << (GROUPS * DATA * 5 - KEY * 8)
    digits = "".join(ALPHABET[number >> shift & 31] for shift in range(GROUPS * DATA * 5 - 5, -1, -5))
    groups = [digits[at : at + DATA] for at in range(0, len(digits), DATA)]
    return "-".join(group + _check(index, group) for index, group in enumerate(groups))


def read(text: str) -> bytes:
    """The 32 bytes; VaultError names the group that is wrong. Spaces, hyphens and small letters don't matter."""
    digits = text.upper().translate(READ_AS)
    if len(digits) != GROUPS * (DATA + 1):
        raise VaultError(f"a recovery key has {GROUPS} groups of {DATA + 1} characters; this has {len(digits)} in all")
    number = 0
    for index in range(GROUPS):
        at = index * (DATA + 1)
        group, check = digits[at : at + DATA], digits[at + DATA]
        if not set(group) <= set(ALPHABET) or check != _check(index, group):
            raise VaultError(f"the recovery key is mistyped in group {index + 1}")
        for letter in group:
            number = number << 5 | ALPHABET.index(letter)
    spare = GROUPS * DATA * 5 - KEY * 8
    if number & ((1 << spare) - 1):
        raise VaultError(f"the recovery key is mistyped in group {GROUPS}")
    return (number >> spare).to_bytes(KEY, "big")


def _check(index: int, group: str) -> str:
    return ALPHABET[hashlib.sha256(f"{index}:{group}".encode()).digest()[0] & 31]
