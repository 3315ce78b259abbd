"""The memory of limits: one bucket for each caller, bounded, outliving reloads."""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

CAPACITY: Final = 1_000_000  # callers a limit remembers; beyond, those not seen for longest are forgotten
INTERVAL: Final = 16  # looks between two sweeps
SWEPT: Final = 32  # buckets that a sweep looks at, at most
KEPT_VERSIONS: Final = 8  # a store that no route has used for so many reloads is let go


class Bucket:
    """What a limit knows of one caller. From `until` on, it is as good as a new one and may be forgotten."""

    def __init__(self) -> None:
        self.until = 0
        self.count = 0
        self.saved = 0  # of `count`, what the ledger has
        self.listed = False  # for the ledger's next writing
        self.cells: list[int] = []


class Store:
    """The buckets of one limit, those seen last at the end. Units of time are the limit's own integers.

    What can be forgotten is swept from the front as new callers come: at most SWEPT buckets every INTERVAL looks, so
    that no request pays for more. A bucket at the front that still counts holds up those behind it only until its own
    `until`, which for every limit is a bounded time after it was last seen.
    """

    def __init__(self, capacity: int = CAPACITY) -> None:
        self.capacity = capacity
        self.buckets: OrderedDict[object, Bucket] = OrderedDict()
        self.looks = 0

    def look(self, key: object) -> Bucket | None:
        """The bucket of `key` if there is one; nothing changes."""
        return self.buckets.get(key)

    def take(self, key: object, now: int) -> Bucket:
        """The bucket of `key`, made if there is none."""
        self.looks += 1
        if self.looks >= INTERVAL:
            self.looks = 0
            self._sweep(now)
        bucket = self.buckets.get(key)
        if bucket is None:
            if len(self.buckets) >= self.capacity:
                self.buckets.popitem(last=False)
            bucket = self.buckets[key] = Bucket()
        else:
            self.buckets.move_to_end(key)
        return bucket

    def _sweep(self, now: int) -> None:
        buckets = self.buckets
        for _ in range(min(SWEPT, len(buckets))):
            key = next(iter(buckets))
            if buckets[key].until > now:
                return
            del buckets[key]


class Slots:
    """How many exchanges of each caller are under way; callers without any are not kept."""

    def __init__(self) -> None:
        self.held: dict[object, int] = {}

    def free(self, key: object) -> None:
        """One of the caller's exchanges has ended."""
        left = self.held[key] - 1
        if left:
            self.held[key] = left
        else:
            del self.held[key]


class Stores:
    """All that the limits of an edge process remember, by what it is for: (route, kind, name, by, unit)."""

    def __init__(self) -> None:
        self.version = 0
        self.buckets: dict[tuple[str, ...], Store] = {}
        self.slots: dict[tuple[str, ...], Slots] = {}
        self.used: dict[tuple[str, ...], int] = {}

    def store(self, key: tuple[str, ...], version: int) -> Store:
        """The buckets for `key`, as snapshot `version` uses them."""
        self._use(key, version)
        store = self.buckets.get(key)
        if store is None:
            store = self.buckets[key] = Store()
        return store

    def slots_of(self, key: tuple[str, ...], version: int) -> Slots:
        """The slots for `key`, as snapshot `version` uses them."""
        self._use(key, version)
        slots = self.slots.get(key)
        if slots is None:
            slots = self.slots[key] = Slots()
        return slots

    def _use(self, key: tuple[str, ...], version: int) -> None:
        if version > self.version:
            self.version = version
            oldest = version - KEPT_VERSIONS
            for unused in [each for each in self.used if self.used[each] < oldest]:
                del self.used[unused]
                self.buckets.pop(unused, None)
                self.slots.pop(unused, None)
        self.used[key] = version
