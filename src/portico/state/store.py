"""What a store of shared state can do. Two satisfy it: `memory.Memory` in one process, `redis.Redis` between many."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

LARGEST: Final = 8 * 1024 * 1024  # bytes of one value or message

Reply = None | int | bytes | list["Reply"]
Argument = bytes | str | int


class Table(Protocol):
    """The entries of the memory store, as the Python twin of a script sees them. Nothing else runs meanwhile."""

    def get(self, key: str) -> bytes | None:
        """The value, or None when there is none or its time is over."""
        ...

    def set(self, key: str, value: bytes, ttl: float) -> None:
        """Keep a value for `ttl` seconds."""
        ...

    def delete(self, key: str) -> bool:
        """Whether there was one."""
        ...

    def left(self, key: str) -> float:
        """Seconds that the entry has still to live; 0 when there is none."""
        ...

    def now(self) -> float:
        """Seconds of the store's clock, which never goes back."""
        ...


@dataclass(frozen=True, slots=True)
class Script:
    """Steps that run as one, at the store: in Lua for Redis, and the same in Python for memory.

    Arguments reach both as bytes. Replies are None, integers, bytes and lists of these. A script that keeps something
    sets its time to live.
    """

    name: str
    lua: str
    twin: Callable[[Table, Sequence[str], Sequence[bytes]], Reply]


@dataclass(frozen=True, slots=True)
class StoreHealth:
    """Whether the store answers; seconds of the last answer; the last error, without credentials."""

    ok: bool
    latency: float = 0.0
    error: str = ""


class Subscription(Protocol):
    """One handler of one channel."""

    def cancel(self) -> None:
        """No more messages; may be called twice."""
        ...


class Store(Protocol):
    """Values under keys, each with a time to live; counters; scripts; messages.

    Every call answers or raises StateUnavailable within `wait` seconds; while the store is known to be away, at once.
    A value has at most 8 MiB; ValueError otherwise, and for a time to live that is not positive.
    """

    @property
    def is_shared(self) -> bool:
        """Whether other processes see the same."""
        ...

    async def start(self) -> None:
        """Begin; a store that is away is no error: it is tried until it is there."""
        ...

    async def stop(self) -> None:
        """Let go of everything; may be called twice."""
        ...

    async def get(self, key: str) -> bytes | None:
        """The value, or None."""
        ...

    async def set(self, key: str, value: bytes, ttl: float, *, only_new: bool = False) -> bool:
        """Keep the value for `ttl` seconds. With `only_new` an entry that is there stays, and the answer is False."""
        ...

    async def delete(self, *keys: str) -> int:
        """How many of them there were."""
        ...

    async def incr(self, key: str, ttl: float, by: int = 1) -> int:
        """Add to a counter, which lives `ttl` seconds from its first increment; the sum."""
        ...

    def register(self, script: Script) -> None:
        """Make a script known; ValueError when another has its name."""
        ...

    async def script(self, name: str, keys: Sequence[str], args: Sequence[Argument] = ()) -> Reply:
        """Run a registered script."""
        ...

    async def publish(self, channel: str, message: bytes) -> None:
        """Send a message to whoever listens now, in any process."""
        ...

    async def subscribe(
        self, channel: str, handler: Callable[[bytes], None], gap: Callable[[], None] | None = None
    ) -> Subscription:
        """Call `handler` for each message; `gap` whenever some may have been missed: the store was away."""
        ...

    async def ping(self) -> float:
        """Seconds until the store answered."""
        ...

    def health(self) -> StoreHealth:
        """How it stands, by the last calls."""
        ...

    def on_change(self, callback: Callable[[bool], None]) -> None:
        """Call back when the store goes (False) and when it is there again (True)."""
        ...


def check(value: bytes, ttl: float) -> None:
    """ValueError for what no store takes."""
    if len(value) > LARGEST:
        raise ValueError(f"a value has at most {LARGEST} bytes")
    if not 0 < ttl < 1e9:
        raise ValueError("a time to live is more than nothing, and ends some day")


def to_bytes(argument: Argument) -> bytes:
    """An argument as both kinds of script get it."""
    return argument if isinstance(argument, bytes) else str(argument).encode()
