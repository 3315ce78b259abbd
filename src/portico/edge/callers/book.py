"""What the edge knows of the keys in the database, and how fresh that is.

The services stream every change, and each beat says up to when everything has been told. What is known counts for
FRESH seconds after the last beat; then it is asked again. Times are monotonic seconds, of the one clock that all
processes of a machine have, unless they are called wall.
"""

from __future__ import annotations

import math
from array import array
from bisect import bisect_left
from collections import OrderedDict
from typing import Any, Final

from portico.edge.exchange import Exchange
from portico.edge.forwarded import trusted
from portico.identity.principal import Principal

FRESH: Final = 1.0  # seconds after a beat for which what is known counts
RECORDS: Final = 100_000  # keys that are remembered; beyond, those not seen for longest are asked again
RECENT: Final = 4096  # keys that are found without hashing what was presented
ABSENT: Final = 10_000  # digests of which the services have said that nobody has such a key
NEW: Final = 10_000  # keys added since the prefixes were fetched, after which they are fetched again
USED: Final = 20_000  # keys whose last use has not been told yet
STREAMS: Final = 64  # that have ended and of which the last beat is remembered
NEVER: Final = math.inf


class Entry:
    """One key: whom it stands for, and for how long and from where."""

    def __init__(
        self, digest: bytes, principal: Principal, expires: float, networks: list[object], generation: int, asked: float
    ) -> None:
        self.digest = digest
        self.principal = principal
        self.expires = expires  # wall; NEVER
        self.networks = networks  # ipaddress networks; none: from anywhere
        self.generation = generation  # of the stream under which it was asked
        self.asked = asked
        self.alive = True  # False: it was changed or revoked, and whoever holds the entry must ask again
        self.admitted = b""  # the address that came last out of these networks
        self.limits: Any = ()  # of this key alone, as `key_limits` takes them

    def admits(self, client: bytes) -> bool:
        """Whether the key may be used from this address."""
        if not self.networks or client == self.admitted:
            return True
        if not client or not trusted(client, self.networks):
            return False
        self.admitted = client
        return True


class Book:
    """The keys, by what was presented (`recent`), and by its SHA-256 (`entries`, those seen last at the end)."""

    def __init__(self, records: int = RECORDS) -> None:
        self.records = records
        self.entries: OrderedDict[bytes, Entry] = OrderedDict()
        self.recent: dict[bytes, Entry] = {}
        self.absent: OrderedDict[bytes, None] = OrderedDict()
        self.prefixes: Any = array("Q")  # the first 8 bytes of every key's SHA-256, sorted
        self.added: set[int] = set()  # the same of keys made since
        self.generation = 0  # counts the streams; what was asked under an older one is asked again
        self.ended: dict[int, float] = {}  # generation → the last beat that was heard when it ended
        self.synced = False  # the stream's beginning and the prefixes are here
        self.nobody = False  # these services keep no keys
        self.fresh_at = -NEVER
        self.used: dict[str, int] = {}  # id → when it was used last (wall), not told yet

    def find(self, presented: bytes, now: float) -> Entry | None:
        """The entry of a key that was presented before, if what is known of it counts at `now`."""
        entry = self.recent.get(presented)
        if entry is None or not self.counts(entry, now):
            return None
        return entry

    def counts(self, entry: Entry, now: float) -> bool:
        """Whether the entry may be believed at `now` without asking."""
        return entry.alive and entry.generation == self.generation and self.synced and now - self.fresh_at <= FRESH

    def fresh(self, now: float) -> bool:
        """Whether what is known counts at `now`."""
        return self.synced and now - self.fresh_at <= FRESH

    def begin(self) -> None:
        """A new stream begins: it will not tell of what changed before."""
        self.ended[self.generation] = self.fresh_at
        self.ended.pop(self.generation - STREAMS, None)
        self.generation += 1
        self.synced = self.nobody = False

    def heard(self, entry: Entry) -> float:
        """When the entry was known to be right for the last time (monotonic). Later streams say nothing about it."""
        beat = self.fresh_at if entry.generation == self.generation else self.ended.get(entry.generation, -NEVER)
        return max(beat, entry.asked)

    def use(self, entry: Entry, exchange: Exchange) -> None:
        """The exchange is this key's."""
        exchange.principal = entry.principal
        used = self.used
        name = entry.principal.id
        if name in used or len(used) < USED:
            used[name] = int(exchange.wall)

    def keep(self, entry: Entry) -> None:
        """Remember what the services have said of a key."""
        entries = self.entries
        old = entries.pop(entry.digest, None)
        if old is not None:
            old.alive = False
        elif len(entries) >= self.records:
            entries.popitem(last=False)[1].alive = False  # changes of it would not be found any more
        entries[entry.digest] = entry
        self.absent.pop(entry.digest, None)

    def remember(self, presented: bytes, entry: Entry) -> None:
        """Find the entry without hashing next time."""
        if len(self.recent) >= RECENT:
            self.recent.clear()
        self.recent[presented] = entry
        self.entries.move_to_end(entry.digest)

    def nobodys(self, digest: bytes) -> None:
        """The services have said that nobody has this key."""
        self.forget(digest)
        if len(self.absent) >= ABSENT:
            self.absent.popitem(last=False)
        self.absent[digest] = None

    def forget(self, digest: bytes) -> None:
        """What was known of the key counts no longer."""
        entry = self.entries.pop(digest, None)
        if entry is not None:
            entry.alive = False
        self.absent.pop(digest, None)

    def may_exist(self, digest: bytes) -> bool:
        """Whether some key begins like this one; False is certain, as of the last beat."""
        if digest in self.absent:
            return False
        prefix = int.from_bytes(digest[:8], "big")
        if prefix in self.added:
            return True
        prefixes = self.prefixes
        at = bisect_left(prefixes, prefix)
        return at < len(prefixes) and bool(prefixes[at] == prefix)
