"""API keys as they are written: `pk_`, 43 characters that hold 256 random bits, 6 that check them.

All 49 are of base 62 (digits, capitals, small letters). The last six are the CRC-32 of what stands before them: it
tells a mistyped or invented key from one that may exist without asking anybody, and lets scanners of source code find
leaked ones. It is no secret and proves nothing.
"""

from __future__ import annotations

import secrets
from hashlib import sha256
from typing import Final
from zlib import crc32

PREFIX: Final = b"pk_"
ALPHABET: Final = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz"
RANDOM: Final = 43  # characters; 62 ** 43 is just above 2 ** 256
CHECK: Final = 6  # characters; 62 ** 6 is above 2 ** 32
LENGTH: Final = len(PREFIX) + RANDOM + CHECK
HINT: Final = 10  # characters of a key by which people tell it from others


def generate() -> str:
    """A new key, from the system's source of randomness."""
    body = PREFIX + _digits(secrets.randbits(256), RANDOM)
    return (body + _check(body)).decode()


def well_formed(presented: bytes) -> bool:
    """Whether `presented` is written as a key is; says nothing about whether it exists."""
    if len(presented) != LENGTH or not presented.startswith(PREFIX):
        return False
    body, check = presented[:-CHECK], presented[-CHECK:]
    return not body[len(PREFIX) :].translate(None, ALPHABET) and check == _check(body)


def digest(presented: bytes) -> bytes:
    """The SHA-256 of a key, 32 bytes: what is kept of it. A random key of 256 bits needs no slower hash."""
    return sha256(presented).digest()


def hint(key: str) -> str:
    """The beginning of a key, by which people tell it from others; 41 of its bits, of 256."""
    return key[:HINT]


def _check(body: bytes) -> bytes:
    return _digits(crc32(body), CHECK)


def _digits(number: int, width: int) -> bytes:
    """`number` in base 62, filled with zeros to `width`."""
    digits = bytearray(width)
    for index in range(width - 1, -1, -1):
        number, digit = divmod(number, len(ALPHABET))
        digits[index] = ALPHABET[digit]
    return bytes(digits)
