"""What ties records together: HMAC-SHA256 (RFC 2104) under a key of the vault, over a text that has one reading.

A record's link is over the link before it and every one of its fields. The first record of a chain follows the link of
the chain itself, which is over the chain begun before it. So no record and no chain can be changed, moved, left out or
put in without the key.
"""

from __future__ import annotations

import hmac
import json
from dataclasses import astuple, dataclass, fields
from datetime import UTC, datetime, timedelta
from typing import Any, Final, Self

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
NOTHING: Final = bytes(32)  # the link before the first chain
_LABEL: Final = b"portico audit 1 "


@dataclass(frozen=True, slots=True)
class Record:
    """One record but for its link; `at` in microseconds since 1970, `detail` the JSON text as it is kept."""

    writer: str
    sequence: int
    id: str
    at: int
    tenant: str
    actor_kind: str
    actor_id: str
    action: str
    object_kind: str
    object_id: str
    source: str
    result: str
    code: str
    request_id: str
    detail: str


@dataclass(frozen=True, slots=True)
class Writer:
    """One chain, and how far it has come; `began` in microseconds since 1970."""

    writer: str
    number: int
    key_id: str
    began: int
    link: bytes
    sequence: int
    head: bytes
    pruned: int
    pruned_head: bytes
    mac: bytes


@dataclass(frozen=True, slots=True)
class Head:
    """How far a chain had come at a time (RFC 3339), as it was published."""

    at: str
    writer: str
    sequence: int
    head: str  # in hex
    key_id: str
    mac: str  # in hex

    @classmethod
    def of(cls, key: bytes, at: datetime, writer: str, sequence: int, head: bytes, key_id: str) -> Self:
        """A head with its own proof."""
        moment = at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        mac = _mac(key, b"published", b"", [moment, writer, sequence, head.hex(), key_id])
        return cls(moment, writer, sequence, head.hex(), key_id, mac.hex())

    def proven(self, key: bytes) -> bool:
        """Whether it is as it was published."""
        mac = _mac(key, b"published", b"", [self.at, self.writer, self.sequence, self.head, self.key_id])
        return hmac.compare_digest(mac.hex(), self.mac)


def record_link(key: bytes, before: bytes, record: Record) -> bytes:
    """The link of a record that follows the link `before`."""
    return _mac(key, b"record", before, list(astuple(record)))


def writer_link(key: bytes, before: bytes, writer: str, number: int, key_id: str, began: int) -> bytes:
    """The link of a chain that follows the chain with the link `before`; its first record follows this."""
    return _mac(key, b"writer", before, [writer, number, key_id, began])


def state_mac(key: bytes, writer: str, sequence: int, head: bytes, pruned: int, pruned_head: bytes) -> bytes:
    """The proof of how far a chain has come, and from where on it is kept."""
    return _mac(key, b"state", b"", [writer, sequence, head.hex(), pruned, pruned_head.hex()])


def microseconds(moment: datetime) -> int:
    """Since 1970."""
    return (moment - EPOCH) // timedelta(microseconds=1)


def moment(at: int) -> datetime:
    """The other way."""
    return EPOCH + timedelta(microseconds=at)


NAMES: Final = tuple(field.name for field in fields(Record))


def _mac(key: bytes, what: bytes, before: bytes, values: list[Any]) -> bytes:
    text = json.dumps(values, separators=(",", ":")).encode()
    return hmac.digest(key, _LABEL + what + b"\0" + before + text, "sha256")
