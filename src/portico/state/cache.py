"""A cache on a store: results that may be computed again, by kind, each with its time to live.

    reports = cache.kind("reports", ttl=300.0, codec=JSON)
    report = await reports.get_or_compute(key, compute, tags=("user:42",))
    await cache.invalidate_tag("user:42")

It never fails: when the store is away, results are computed. What is invalidated is not served again by any process,
not even when it was being computed at that moment. An entry carries the generations of its kind and tags; invalidating
makes a new generation. A generation that the store has lost counts as new, so that what was written before it is gone.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import secrets
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import Any, Final, Generic, TypeVar

from portico.errors import StateUnavailable
from portico.state import scripts
from portico.state.flights import Flights
from portico.state.store import Argument, Store
from portico.telemetry import logs

Value = TypeVar("Value")

LONGEST: Final = 86400.0  # seconds that an entry may live
GENERATION: Final = 2 * LONGEST  # seconds that a generation lives: longer than any entry that carries it
TOMBSTONE: Final = 600.0  # seconds: a computation that takes longer might bring back what was invalidated meanwhile
MOST_TAGS: Final = 8
MOST_BYTES: Final = 1024 * 1024  # of one entry, unless its kind says otherwise
ROUNDS: Final = 3  # a caller who has waited for two computations that were out of date at their end begins its own
MOST_OWED: Final = 10_000  # invalidations kept while the store is away


@dataclass(frozen=True, slots=True)
class Codec(Generic[Value]):
    """How values of a kind become bytes, and come back."""

    encode: Callable[[Value], bytes]
    decode: Callable[[bytes], Value]


def _same(value: bytes) -> bytes:
    return value


def _to_json(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()


BYTES: Final[Codec[bytes]] = Codec(_same, _same)
JSON: Final[Codec[Any]] = Codec(_to_json, json.loads)


@dataclass(frozen=True, slots=True)
class Seen:
    """What a look found: the value if there is one that counts, the head of what is there, the generations of now."""

    value: bytes | None
    head: bytes
    generations: tuple[bytes, ...]


@dataclass(slots=True)
class Counts:
    """What became of the calls of one kind."""

    hits: int = 0
    misses: int = 0
    joined: int = 0  # waited for a computation that was under way
    away: int = 0  # the store was
    refused: int = 0  # results that were too large to keep


class Cache:
    """Kinds of results on one store. With the memory store it is a cache of this process."""

    def __init__(self, store: Store) -> None:
        self._store = store
        self._kinds: dict[str, Kind[Any]] = {}
        self._owed: dict[str, None] = {}  # keys of generations and entries whose invalidation the store has not heard
        for script in scripts.CACHE:
            store.register(script)
        store.on_change(self._changed)
        self._paying: asyncio.Task[None] | None = None

    def kind(self, name: str, ttl: float, *, codec: Codec[Value], most: int = MOST_BYTES) -> Kind[Value]:
        """A kind of results that live `ttl` seconds (at most a day) and have at most `most` bytes each.

        ValueError when the name has been given before.
        """
        if name in self._kinds or not 0 < ttl <= LONGEST:
            raise ValueError(f"the kind {name!r} is there already, or lives too long")
        made: Kind[Value] = Kind(self, name, ttl, codec, most)
        self._kinds[name] = made
        return made

    async def invalidate_tag(self, tag: str) -> bool:
        """Forget the entries of all kinds that carry the tag. False: the store is away; done when it is back."""
        for kind in self._kinds.values():
            kind.flights.drop(lambda tags: tag in tags)
        return await self.forget(_tag(tag))

    def counts(self) -> dict[str, Counts]:
        """What became of the calls, by kind."""
        return {name: kind.counts for name, kind in self._kinds.items()}

    async def stop(self) -> None:
        """End what is under way."""
        for kind in self._kinds.values():
            await kind.flights.stop()
        if self._paying is not None:
            self._paying.cancel()
            await asyncio.gather(self._paying, return_exceptions=True)

    async def read(self, entry: str, generations: list[str]) -> Seen:
        """What is kept under `entry` by the generations of now. StateUnavailable."""
        await self._pay()
        reply = await self._store.script(
            "cache.read", [entry, *generations], [secrets.token_bytes(8), round(GENERATION * 1000)]
        )
        assert isinstance(reply, list)
        found = reply[0] if isinstance(reply[0], bytes) else b""
        current = tuple(each for each in reply[1:] if isinstance(each, bytes))
        stamp = _stamp(current)
        body = found[scripts.HEAD :]
        fits = found[:1] == scripts.ENTRY and body.startswith(stamp)
        return Seen(body[len(stamp) :] if fits else None, found[: scripts.HEAD], current)

    async def write(self, entry: str, generations: list[str], seen: Seen, value: bytes | None, ttl: float) -> bool:
        """Keep an entry, or nothing; False, and nothing kept, if anything has changed since. StateUnavailable."""
        whole = b"" if value is None else scripts.ENTRY + secrets.token_bytes(8) + _stamp(seen.generations) + value
        args: list[Argument] = [seen.head, round(ttl * 1000), whole, *seen.generations]
        return await self._store.script("cache.write", [entry, *generations], args) == 1

    async def forget(self, key: str) -> bool:
        """Make a new generation, or put a tombstone in an entry's place; see `invalidate_tag` for the answer."""
        if len(self._owed) >= MOST_OWED and key not in self._owed:
            self._owed = {_kind(name): None for name in self._kinds}  # too many to know: everything, then
        self._owed[key] = None
        try:
            await self._pay()
        except StateUnavailable:
            return False
        return True

    async def _pay(self) -> None:
        """Tell the store every invalidation that it has not heard."""
        while self._owed:
            key = next(iter(self._owed))
            del self._owed[key]  # another invalidation of the same is owed anew
            try:
                if key.startswith(scripts.GENERATIONS):
                    await self._store.set(key, secrets.token_bytes(8), GENERATION)
                else:
                    await self._store.set(key, scripts.GRAVE + secrets.token_bytes(8), TOMBSTONE)
            except BaseException:
                self._owed[key] = None
                raise

    def _changed(self, is_there: bool) -> None:
        if is_there and self._owed and (self._paying is None or self._paying.done()):
            self._paying = asyncio.create_task(self._pay_later())

    async def _pay_later(self) -> None:
        try:
            await self._pay()
        except StateUnavailable:
            return  # next time


class Kind(Generic[Value]):
    """One kind of results. Made by `Cache.kind`."""

    def __init__(self, cache: Cache, name: str, ttl: float, codec: Codec[Value], most: int) -> None:
        self.name = name
        self.counts = Counts()
        self.flights: Flights[tuple[Value, bool]] = Flights()
        self._cache = cache
        self._ttl = ttl
        self._codec = codec
        self._most = most

    async def get_or_compute(
        self, key: str, compute: Callable[[], Awaitable[Value]], tags: Iterable[str] = ()
    ) -> Value:
        """The result kept under `key`, or the one that `compute` gives, which is then kept.

        Callers of this process that ask for the same at the same time wait for one computation; what it raises, all of
        them get, and nothing is kept. `tags`, at most 8, must be the same for the same key.
        """
        names = _tags(tags)
        for attempt in range(ROUNDS):
            seen = await self._look(key, names)
            found = self._decode(seen)
            if found:
                self.counts.hits += 1
                return found[0]
            flying = self.flights.find(key) if attempt < ROUNDS - 1 else None
            if flying is None:
                break
            self.counts.joined += 1
            value, is_current = await flying.wait()
            if is_current:
                return value
        self.counts.misses += 1
        value, _ = await self.flights.begin(key, names, lambda: self._compute(key, names, seen, compute)).wait()
        return value

    async def get(self, key: str, tags: Iterable[str] = ()) -> Value | None:
        """What is kept under `key`; None also when the store is away."""
        seen = await self._look(key, _tags(tags))
        found = self._decode(seen)
        return found[0] if found else None

    async def put(self, key: str, value: Value, tags: Iterable[str] = ()) -> bool:
        """Keep a result; False when that could not be done.

        What was invalidated before this call counts as unknown to it: `get_or_compute` is safe there, this is not.
        """
        names = _tags(tags)
        seen, encoded = await self._look(key, names), self._encode(value)
        return seen is not None and encoded is not None and await self._write(key, names, seen, encoded) is True

    async def invalidate(self, key: str) -> bool:
        """Forget one entry. False: the store is away; it is done when it is back, and not served here before."""
        self.flights.forget(key)
        return await self._cache.forget(_entry(self.name, key))

    async def clear(self) -> bool:
        """Forget all entries of this kind; see `invalidate`."""
        self.flights.drop(lambda tags: True)
        return await self._cache.forget(_kind(self.name))

    async def _compute(
        self, key: str, tags: tuple[str, ...], seen: Seen | None, compute: Callable[[], Awaitable[Value]]
    ) -> tuple[Value, bool]:
        """The result, and whether nothing was invalidated meanwhile, as far as is known: others may have it then."""
        value = await compute()
        if seen is None:
            return value, True
        return value, await self._write(key, tags, seen, self._encode(value)) is not False

    async def _look(self, key: str, tags: tuple[str, ...]) -> Seen | None:
        """What is there; None: the store is away."""
        try:
            return await self._cache.read(_entry(self.name, key), self._generations(tags))
        except StateUnavailable:
            self.counts.away += 1
            return None

    def _decode(self, seen: Seen | None) -> tuple[Value] | None:
        if seen is None or seen.value is None:
            return None
        try:
            return (self._codec.decode(seen.value),)
        except ValueError:
            return None  # written by another version, or by a stranger

    async def _write(self, key: str, tags: tuple[str, ...], seen: Seen, encoded: bytes | None) -> bool | None:
        """Whether nothing has changed since the look, and so `encoded` is kept; None: the store is away."""
        try:
            return await self._cache.write(_entry(self.name, key), self._generations(tags), seen, encoded, self._ttl)
        except StateUnavailable:
            self.counts.away += 1
            return None

    def _encode(self, value: Value) -> bytes | None:
        try:
            encoded = self._codec.encode(value)
        except (TypeError, ValueError) as error:
            logs.get("portico.state").error("a result can't be kept", kind=self.name, cause=type(error).__name__)
            encoded = None
        if encoded is None or len(encoded) > self._most:
            self.counts.refused += 1
            return None
        return encoded

    def _generations(self, tags: tuple[str, ...]) -> list[str]:
        return [_kind(self.name), *map(_tag, tags)]


def _stamp(generations: tuple[bytes, ...]) -> bytes:
    """What an entry carries of its generations: fewer tags must not pass for the beginning of more."""
    return bytes([len(generations)]) + b"".join(generations)


def _entry(kind: str, key: str) -> str:
    """The place of an entry: a digest, as keys may be long, or a secret's."""
    return f"cache:e:{kind}:{hashlib.sha256(key.encode()).hexdigest()}"


def _kind(name: str) -> str:
    return f"{scripts.GENERATIONS}k:{name}"


def _tag(name: str) -> str:
    return f"{scripts.GENERATIONS}t:{hashlib.sha256(name.encode()).hexdigest()}"


def _tags(tags: Iterable[str]) -> tuple[str, ...]:
    names = tuple(sorted(set(tags)))
    if len(names) > MOST_TAGS:
        raise ValueError(f"an entry has at most {MOST_TAGS} tags")
    return names
