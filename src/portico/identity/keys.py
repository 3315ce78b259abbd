"""Static API keys: which principal a presented key stands for. Only hashes of keys are kept."""

from __future__ import annotations

from hashlib import sha256
from typing import Final

from portico.contracts import Key
from portico.identity.principal import Principal

MAX_LENGTH: Final = 512
VISIBLE: Final = bytes(range(0x21, 0x7F))  # the characters that a key may have


class Keys:
    """The keys of one snapshot, found by the SHA-256 of what is presented."""

    def __init__(self, keys: tuple[Key, ...]) -> None:
        self._principals: dict[bytes, Principal] = {}
        for key in keys:
            principal = Principal(key.id, "key", key.tenant, key.permissions)
            self._principals[bytes.fromhex(key.sha256)] = principal

    def __len__(self) -> int:
        return len(self._principals)

    def find(self, presented: bytes) -> Principal | None:
        """The principal whose key was presented, or None.

        Anything that can't be a key (empty, over 512 bytes, not visible ASCII) is refused before it costs a hash. The
        time of the look-up depends on the digest only, which tells nothing about how much of a key was right.
        """
        if not presented or len(presented) > MAX_LENGTH or presented.translate(None, VISIBLE):
            return None
        return self._principals.get(sha256(presented).digest())


def hash_key(key: str) -> str:
    """The SHA-256 of `key` in lower-case hex, as the configuration holds it."""
    return sha256(key.encode()).hexdigest()
