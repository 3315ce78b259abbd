"""vault.json: the master key, wrapped once for each secret that opens it.

    {"version": 1, "id": …, "created": …, "databases": ["portico.db"],
     "slots": [{"kind": "passphrase" | "key file" | "recovery", "kdf": …, "salt": …, "wrapped": …, "made": …}],
     "next": {"database": …, "wrapped": …},      only while the master key is being replaced
     "check": SHA-256 of the rest}

`check` tells damage from a wrong passphrase. What an attacker changes, and recomputes `check` for, fails when the key
is unwrapped: a slot is tied to everything above it and beside it.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Final

from portico.errors import VaultError
from portico.storage.vault.crypto import KEY, NONCE, SALT, TAG, Kdf, parse_kdf

VERSION: Final = 1
PASSPHRASE: Final = "passphrase"
KEY_FILE: Final = "key file"
RECOVERY: Final = "recovery"
WRAPPED: Final = NONCE + KEY + TAG  # bytes


@dataclass(frozen=True, slots=True)
class Slot:
    """One secret that opens the vault; `kdf` is None for a recovery key, which is random as it is."""

    kind: str
    kdf: Kdf | None
    salt: bytes
    made: str
    wrapped: bytes = b""

    def plain(self) -> dict[str, Any]:
        """Everything but what is wrapped."""
        kdf = self.kdf.plain() if self.kdf else None
        return {"kind": self.kind, "kdf": kdf, "salt": self.salt.hex(), "made": self.made}


@dataclass(frozen=True, slots=True)
class Next:
    """A master key that is taking over: `database` is the SQLite file that is encrypted anew, "" for PostgreSQL."""

    database: str
    wrapped: bytes = b""


@dataclass(frozen=True, slots=True)
class Header:
    """The contents of vault.json; `databases` are the SQLite files that have been made under this vault."""

    id: str
    created: str
    slots: tuple[Slot, ...] = ()
    next: Next | None = None
    databases: tuple[str, ...] = ()

    def slot(self, kind: str) -> Slot | None:
        return next((slot for slot in self.slots if slot.kind == kind), None)

    @property
    def main(self) -> Slot:
        """The slot of the passphrase or key file: there is exactly one."""
        return self.slots[0]

    def bound(self, slot: Slot, following: Next | None = None) -> bytes:
        """What a wrapped key is tied to; `following` when it is the next master key."""
        tied = {"version": VERSION, "id": self.id, "created": self.created, **slot.plain()}
        return canonical({**tied, "next": following.database if following else None})

    def with_slot(self, slot: Slot) -> Header:
        """The same with `slot`, in place of another of its kind."""
        kept = tuple(each for each in self.slots if each.kind != slot.kind)
        return replace(self, slots=(*kept, slot))


def canonical(value: Any) -> bytes:
    """JSON in the one form that is hashed and authenticated."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode()


def now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def write(header: Header) -> bytes:
    """The text of vault.json."""
    value: dict[str, Any] = {
        "version": VERSION,
        "id": header.id,
        "created": header.created,
        "databases": list(header.databases),
        "slots": [{**slot.plain(), "wrapped": slot.wrapped.hex()} for slot in header.slots],
    }
    if header.next is not None:
        value["next"] = {"database": header.next.database, "wrapped": header.next.wrapped.hex()}
    value["check"] = hashlib.sha256(canonical(value)).hexdigest()
    return json.dumps(value, indent=2).encode() + b"\n"


def read(text: bytes) -> Header:
    """The header that `text` holds. VaultError, as the end of a sentence, when it is damaged or of a newer Portico."""
    try:
        value = json.loads(text.decode("ascii"), object_pairs_hook=_no_twins)
        if not isinstance(value, dict):
            raise ValueError
        check = value.pop("check")
    except (ValueError, KeyError, RecursionError) as error:
        raise VaultError("it is damaged: restore it from a backup") from error
    version = value.get("version")
    if type(version) is int and version > VERSION:
        raise VaultError("it was written by a newer Portico: upgrade this one")
    if check != hashlib.sha256(canonical(value)).hexdigest():
        raise VaultError("it is damaged: restore it from a backup")
    try:
        return _header(value)
    except (ValueError, KeyError, TypeError) as error:
        raise VaultError("it is damaged: restore it from a backup") from error


def _header(value: dict[str, Any]) -> Header:
    if value["version"] != VERSION or set(value) - {"version", "id", "created", "databases", "slots", "next"}:
        raise ValueError
    slots = tuple(_slot(each) for each in value["slots"])
    kinds = [slot.kind for slot in slots]
    if kinds not in ([PASSPHRASE], [KEY_FILE], [PASSPHRASE, RECOVERY], [KEY_FILE, RECOVERY]):
        raise ValueError
    following = None
    if "next" in value:
        following = Next(_text(value["next"]["database"]), _hex(value["next"]["wrapped"], WRAPPED))
    databases = tuple(_text(each) for each in value["databases"])
    return Header(_text(value["id"]), _text(value["created"]), slots, following, databases)


def _slot(value: dict[str, Any]) -> Slot:
    kind = _text(value["kind"])
    kdf = None if kind == RECOVERY else parse_kdf(value["kdf"])
    return Slot(kind, kdf, _hex(value["salt"], SALT), _text(value["made"]), _hex(value["wrapped"], WRAPPED))


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError
    return value


def _hex(value: Any, size: int) -> bytes:
    data = bytes.fromhex(_text(value))
    if len(data) != size:
        raise ValueError
    return data


def _no_twins(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise ValueError
    return value
