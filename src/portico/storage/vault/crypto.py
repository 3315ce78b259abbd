"""What the vault computes: Argon2id for what people choose, AES-256-GCM for wrapping, HKDF-SHA256 for the rest."""

from __future__ import annotations

import os
import unicodedata
from dataclasses import asdict, dataclass
from typing import Any, Final

from argon2.low_level import Type, hash_secret_raw
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from portico.errors import VaultError

KEY: Final = 32  # bytes of every key here
NONCE: Final = 12
TAG: Final = 16
SALT: Final = 16
ARGON2ID: Final = "argon2id"


@dataclass(frozen=True, slots=True)
class Kdf:
    """The cost of one guess (RFC 9106): `memory` in KiB, `passes` over it, `lanes` in parallel."""

    memory: int
    passes: int
    lanes: int

    def plain(self) -> dict[str, Any]:
        return {"name": ARGON2ID, **asdict(self)}


FOR_PASSPHRASES: Final = Kdf(64 * 1024, 3, 4)
FOR_KEY_FILES: Final = Kdf(8 * 1024, 1, 1)  # 256 random bits can't be guessed, however little a guess costs
MOST: Final = Kdf(1024 * 1024, 16, 16)  # what a file may ask for, so that an altered one can't exhaust the machine


def stretch(secret: bytes, salt: bytes, kdf: Kdf) -> bytes:
    """The key-encryption key of a passphrase or key file: 32 bytes, after 0.2 s for a passphrase."""
    return hash_secret_raw(secret, salt, kdf.passes, kdf.memory, kdf.lanes, KEY, Type.ID)


def as_bytes(passphrase: str) -> bytes:
    """The same bytes however a keyboard composed the letters; bytes of the environment that are no UTF-8 stay."""
    return unicodedata.normalize("NFC", passphrase).encode("utf-8", "surrogateescape")


def derive(key: bytes, label: str, salt: bytes | None = None) -> bytes:
    """A key of its own for each label (RFC 5869): 32 bytes."""
    return HKDF(SHA256(), KEY, salt, b"portico vault 1 " + label.encode()).derive(key)


def wrap(key: bytes, plain: bytes, bound: bytes) -> bytes:
    """`plain` under `key`, tied to `bound`: nonce (12), ciphertext, tag (16)."""
    nonce = os.urandom(NONCE)
    return nonce + AESGCM(key).encrypt(nonce, plain, bound)


def unwrap(key: bytes, wrapped: bytes, bound: bytes) -> bytes | None:
    """What was wrapped; None when the key is another, or a bit of `wrapped` or `bound` has changed."""
    try:
        return AESGCM(key).decrypt(wrapped[:NONCE], wrapped[NONCE:], bound)
    except (InvalidTag, ValueError):
        return None


def parse_kdf(value: Any) -> Kdf:
    """The cost that a file states; VaultError when it is not one that this version knows or would pay."""
    try:
        kdf = Kdf(value["memory"], value["passes"], value["lanes"])
        known = value == kdf.plain()
    except (KeyError, TypeError) as error:
        raise VaultError("its key derivation is not one that this version knows") from error
    for stated, most in ((kdf.memory, MOST.memory), (kdf.passes, MOST.passes), (kdf.lanes, MOST.lanes)):
        known = known and type(stated) is int and 0 < stated <= most
    if not known or kdf.memory < 8 * kdf.lanes:
        raise VaultError("its key derivation is not one that this version knows")
    return kdf
