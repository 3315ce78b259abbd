"""Shared state of one process: a table in memory that never holds more than it may."""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Final

from portico.errors import StateUnavailable
from portico.state.store import Argument, Reply, Script, StoreHealth, check, to_bytes
from portico.telemetry import logs

MOST: Final = 64 * 1024 * 1024  # bytes
OVERHEAD: Final = 200  # bytes of an entry beside its key and value, about
LOOKED_AT: Final = 2  # entries, the longest unused, that each new one checks for their end


class Entries:
    """Keys and values with an end; the longest unused go when there is no room. Satisfies `Table`."""

    def __init__(self, most: int, clock: Callable[[], float]) -> None:
        self.most = most
        self.size = 0
        self.now = clock
        self._entries: OrderedDict[str, tuple[bytes, float]] = OrderedDict()

    def get(self, key: str) -> bytes | None:
        """The value, or None when there is none or its time is over."""
        entry = self._entries.get(key)
        if entry is None:
            return None
        if entry[1] <= self.now():
            self.delete(key)
            return None
        self._entries.move_to_end(key)
        return entry[0]

    def set(self, key: str, value: bytes, ttl: float) -> None:
        """Keep a value for `ttl` seconds."""
        self.delete(key)
        self._entries[key] = (value, self.now() + ttl)
        self.size += _size(key, value)
        self._make_room()

    def delete(self, key: str) -> bool:
        """Whether there was one."""
        entry = self._entries.pop(key, None)
        if entry is None:
            return False
        self.size -= _size(key, entry[0])
        return entry[1] > self.now()

    def left(self, key: str) -> float:
        """Seconds that the entry has still to live; 0 when there is none."""
        entry = self._entries.get(key)
        return max(0.0, entry[1] - self.now()) if entry is not None else 0.0

    def clear(self) -> None:
        """Forget everything."""
        self._entries.clear()
        self.size = 0

    def __len__(self) -> int:
        return len(self._entries)

    def _make_room(self) -> None:
        now = self.now()
        for _ in range(LOOKED_AT):
            key = next(iter(self._entries))
            if self._entries[key][1] > now:
                self._entries.move_to_end(key, last=False)
                break
            self.delete(key)
            if not self._entries:
                return
        while self.size > self.most:
            self.delete(next(iter(self._entries)))


def _size(key: str, value: bytes) -> int:
    return OVERHEAD + len(key) + len(value)


class Memory:
    """A store in this process; see `Store`. It holds at most `most` bytes, then drops what was unused the longest."""

    is_shared = False

    def __init__(self, most: int = MOST, clock: Callable[[], float] = time.monotonic) -> None:
        self.entries = Entries(most, clock)
        self._scripts: dict[str, Script] = {}
        self._subscriptions: dict[str, list[_Subscription]] = {}

    async def start(self) -> None:
        """Nothing to do."""

    async def stop(self) -> None:
        """Forget everything."""
        self.entries.clear()
        self._subscriptions.clear()

    async def get(self, key: str) -> bytes | None:
        """The value, or None."""
        return self.entries.get(key)

    async def set(self, key: str, value: bytes, ttl: float, *, only_new: bool = False) -> bool:
        """Keep the value for `ttl` seconds."""
        check(value, ttl)
        if only_new and self.entries.get(key) is not None:
            return False
        self.entries.set(key, value, ttl)
        return True

    async def delete(self, *keys: str) -> int:
        """How many of them there were."""
        return sum(self.entries.delete(key) for key in keys)

    async def incr(self, key: str, ttl: float, by: int = 1) -> int:
        """Add to a counter."""
        check(b"", ttl)
        found = self.entries.get(key)
        try:
            total = int(found or b"0") + by
        except ValueError:
            raise StateUnavailable("the entry is no counter") from None
        self.entries.set(key, b"%d" % total, self.entries.left(key) if found is not None else ttl)
        return total

    def register(self, script: Script) -> None:
        """Make a script known."""
        if self._scripts.setdefault(script.name, script) != script:
            raise ValueError(f"another script has the name {script.name!r}")

    async def script(self, name: str, keys: Sequence[str], args: Sequence[Argument] = ()) -> Reply:
        """Run the Python twin of a registered script."""
        return self._scripts[name].twin(self.entries, keys, [to_bytes(argument) for argument in args])

    async def publish(self, channel: str, message: bytes) -> None:
        """Send a message to the handlers of this process, after what runs now."""
        check(message, 1.0)
        loop = asyncio.get_running_loop()
        for subscription in self._subscriptions.get(channel, ()):
            loop.call_soon(subscription.deliver, message)

    async def subscribe(
        self, channel: str, handler: Callable[[bytes], None], gap: Callable[[], None] | None = None
    ) -> _Subscription:
        """Call `handler` for each message; there are no gaps."""
        subscription = _Subscription(self._subscriptions.setdefault(channel, []), handler)
        return subscription

    async def ping(self) -> float:
        """No time at all."""
        return 0.0

    def health(self) -> StoreHealth:
        """Always well."""
        return StoreHealth(True)

    def on_change(self, callback: Callable[[bool], None]) -> None:
        """It never goes."""


class _Subscription:
    """One handler of one channel."""

    def __init__(self, others: list[_Subscription], handler: Callable[[bytes], None]) -> None:
        self._others = others
        self._handler: Callable[[bytes], None] | None = handler
        others.append(self)

    def deliver(self, message: bytes) -> None:
        """Hand on one message."""
        if self._handler is not None:
            try:
                self._handler(message)
            except Exception as error:
                logs.get("portico.state").error("a message could not be handled", exc_info=error)

    def cancel(self) -> None:
        """No more messages."""
        if self._handler is not None:
            self._handler = None
            self._others.remove(self)
