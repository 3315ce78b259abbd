"""Shared state of many processes: Redis or Valkey, one server. redis-py is imported when the store starts.

All keys and channels begin with `portico:`, so that others may use the same server. What a server forgets on its own
(eviction, a restart without a dump) is gone; nothing here may be the only copy of anything that matters.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Callable, Sequence
from importlib.util import find_spec
from typing import Any, Final, TypeVar

from portico import contracts
from portico.errors import PluginError, StateUnavailable
from portico.state.connections import Connector, encode
from portico.state.link import OPEN, Link
from portico.state.store import Argument, Reply, Script, StoreHealth, check, to_bytes
from portico.state.subscriber import Listener, Subscriber
from portico.telemetry import logs

PREFIX: Final = b"portico:"
PATIENCE: Final = 0.5  # seconds that a start waits for the first connection
_INCR: Final = b"""
local sum = redis.call('INCRBY', KEYS[1], ARGV[1])
if redis.call('PTTL', KEYS[1]) < 0 then redis.call('PEXPIRE', KEYS[1], ARGV[2]) end
return sum
"""

Answer = TypeVar("Answer")


class Redis:
    """A store that processes share; see `Store`."""

    is_shared = True

    def __init__(self, spec: contracts.State) -> None:
        self._wait = spec.wait
        self._connector = Connector(spec.url)
        self._link = Link(self._connector, spec.wait, self._greeting, self._changed)
        self._subscriber = Subscriber(self._connector)
        self._scripts: dict[str, Script] = {}
        self._lua: dict[str, tuple[bytes, bytes]] = {"incr": _hashed(_INCR)}  # name → SHA-1 in hex, text
        self._watchers: list[Callable[[bool], None]] = []
        self._last = ""  # what the log said last

    async def start(self) -> None:
        """Connect; waits half a second for the first connection, and goes on trying. PluginError without redis-py."""
        if find_spec("redis") is None:
            raise PluginError("state.url names Redis, and redis-py is not installed: pip install 'portico[redis]'")
        first = self._link.start()
        try:
            async with asyncio.timeout(PATIENCE):
                await first.wait()
        except TimeoutError:
            pass
        if self._link.state != OPEN:
            self._tell(False)

    async def stop(self) -> None:
        """Close both connections."""
        await self._subscriber.stop()
        await self._link.stop()

    async def get(self, key: str) -> bytes | None:
        """The value, or None."""
        return await self._call(bytes, b"GET", _key(key))

    async def set(self, key: str, value: bytes, ttl: float, *, only_new: bool = False) -> bool:
        """Keep the value for `ttl` seconds."""
        check(value, ttl)
        options = (b"NX",) if only_new else ()
        return await self._call(bytes, b"SET", _key(key), value, b"PX", _milliseconds(ttl), *options) is not None

    async def delete(self, *keys: str) -> int:
        """How many of them there were."""
        return await self._call(int, b"UNLINK", *map(_key, keys)) or 0 if keys else 0

    async def incr(self, key: str, ttl: float, by: int = 1) -> int:
        """Add to a counter."""
        check(b"", ttl)
        total = await self._evaluate("incr", (_key(key),), (b"%d" % by, _milliseconds(ttl)))
        assert isinstance(total, int)
        return total

    def register(self, script: Script) -> None:
        """Make a script known; it is loaded with each new connection, or when it is first used."""
        if self._scripts.setdefault(script.name, script) != script:
            raise ValueError(f"another script has the name {script.name!r}")
        self._lua[f"script {script.name}"] = _hashed(script.lua.encode())

    async def script(self, name: str, keys: Sequence[str], args: Sequence[Argument] = ()) -> Reply:
        """Run a registered script at the server."""
        return await self._evaluate(f"script {name}", [_key(key) for key in keys], [to_bytes(each) for each in args])

    async def publish(self, channel: str, message: bytes) -> None:
        """Send a message to whoever listens now, in any process."""
        check(message, 1.0)
        await self._call(int, b"PUBLISH", _key(channel), message)

    async def subscribe(
        self, channel: str, handler: Callable[[bytes], None], gap: Callable[[], None] | None = None
    ) -> Listener:
        """Call `handler` for each message; returns when the server has confirmed it, or after `wait` without."""
        listener = self._subscriber.add(_key(channel), handler, gap)
        try:
            async with asyncio.timeout(self._wait):
                await listener.live.wait()
        except TimeoutError:
            pass  # it goes on trying
        return listener

    async def ping(self) -> float:
        """Seconds until the store answered."""
        loop = asyncio.get_running_loop()
        began = loop.time()
        await self._call(bytes, b"PING")
        return loop.time() - began

    def health(self) -> StoreHealth:
        """How it stands, by the last calls."""
        return self._link.health()

    def on_change(self, callback: Callable[[bool], None]) -> None:
        """Call back when the store goes (False) and when it is there again (True)."""
        self._watchers.append(callback)

    async def _call(self, kind: type[Answer], *parts: bytes) -> Answer | None:
        """The answer to a command, which is of this kind or none."""
        from redis.exceptions import RedisError

        try:
            answer: Any = await self._link.call(*parts)
        except RedisError as error:
            raise StateUnavailable(self._connector.sentence(error)) from None
        return answer if isinstance(answer, kind) else None

    async def _evaluate(self, name: str, keys: Sequence[bytes], args: Sequence[bytes]) -> Reply:
        from redis.exceptions import NoScriptError, RedisError

        digest, lua = self._lua[name]
        rest = (b"%d" % len(keys), *keys, *args)
        due = asyncio.get_running_loop().time() + self._wait
        try:
            try:
                answer = await self._link.call(b"EVALSHA", digest, *rest)
            except NoScriptError:  # someone has flushed the scripts
                async with asyncio.timeout_at(due):
                    answer = await self._link.call(b"EVAL", lua, *rest)
        except TimeoutError:
            raise StateUnavailable("the store did not answer in time") from None
        except RedisError as error:
            raise StateUnavailable(self._connector.sentence(error)) from None
        reply: Reply = answer
        return reply

    def _greeting(self) -> list[bytes]:
        return [encode([b"SCRIPT", b"LOAD", lua]) for _, lua in self._lua.values()]

    def _changed(self, is_there: bool) -> None:
        self._tell(is_there)
        for callback in self._watchers:
            callback(is_there)

    def _tell(self, is_there: bool) -> None:
        log = logs.get("portico.state")
        if is_there:
            if self._last:
                log.info("the shared state is there again")
            self._last = ""
        elif self._last != self._link.error:
            self._last = self._link.error
            log.warning("the shared state is away; callers do without", cause=self._last)


def _key(name: str) -> bytes:
    return PREFIX + name.encode()


def _milliseconds(seconds: float) -> bytes:
    return b"%d" % max(1, round(seconds * 1000))


def _hashed(lua: bytes) -> tuple[bytes, bytes]:
    return hashlib.sha1(lua, usedforsecurity=False).hexdigest().encode(), lua
