"""Messages from Redis: one connection for all channels of a process, made again when it breaks."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from portico.errors import StateUnavailable
from portico.state.connections import Backoff, Connector, close, connect, encode
from portico.telemetry import logs

if TYPE_CHECKING:
    from redis.asyncio.connection import AbstractConnection

BEAT: Final = 5.0  # seconds of silence after which the server is asked whether it is there
PATIENCE: Final = 2.0  # seconds that it has to say so


class Listener:
    """One handler of one channel."""

    def __init__(
        self, owner: Subscriber, channel: bytes, handler: Callable[[bytes], None], gap: Callable[[], None] | None
    ) -> None:
        self.channel = channel
        self.live = asyncio.Event()  # the server has confirmed the channel at least once
        self._owner = owner
        self._handler: Callable[[bytes], None] | None = handler
        self._gap = gap
        self._interrupted = False

    def deliver(self, message: bytes) -> None:
        """Hand on one message."""
        if self._handler is not None:
            _call(self._handler, message)

    def confirmed(self) -> None:
        """From now on messages come."""
        self.live.set()
        if self._interrupted and self._gap is not None and self._handler is not None:
            _call(self._gap)
        self._interrupted = False

    def interrupted(self) -> None:
        """Until it is confirmed again, messages are missed."""
        self._interrupted = self.live.is_set()

    def cancel(self) -> None:
        """No more messages; may be called twice."""
        if self._handler is not None:
            self._handler = None
            self._owner.remove(self)


class Subscriber:
    """Connects when there is a first listener."""

    def __init__(self, connector: Connector) -> None:
        self._connector = connector
        self._listeners: dict[bytes, list[Listener]] = {}
        self._connection: AbstractConnection | None = None
        self._keeper: asyncio.Task[None] | None = None
        self._sending: set[asyncio.Task[None]] = set()
        self._backoff = Backoff()

    def add(self, channel: bytes, handler: Callable[[bytes], None], gap: Callable[[], None] | None) -> Listener:
        """Listen to a channel from now on, as soon as the server is there."""
        listener = Listener(self, channel, handler, gap)
        others = self._listeners.setdefault(channel, [])
        others.append(listener)
        if self._keeper is None:
            self._keeper = asyncio.create_task(self._keep())
        else:
            self._send(b"SUBSCRIBE", channel)  # again, for a known one: only then is the new listener told
        return listener

    def remove(self, listener: Listener) -> None:
        """Listen no more."""
        others = self._listeners.get(listener.channel, [])
        if listener in others:
            others.remove(listener)
        if not others and self._listeners.pop(listener.channel, None) is not None:
            self._send(b"UNSUBSCRIBE", listener.channel)

    async def stop(self) -> None:
        """End; may be called twice."""
        keeper, self._keeper = self._keeper, None
        self._listeners.clear()
        if keeper is not None:
            keeper.cancel()
            await asyncio.gather(keeper, *self._sending, return_exceptions=True)

    def _send(self, *parts: bytes) -> None:
        """Tell the server, if there is a connection; a new one tells it everything anyway."""
        connection = self._connection
        if connection is not None and connection.is_connected:
            task = asyncio.create_task(_write(connection, encode(parts)))
            self._sending.add(task)
            task.add_done_callback(self._sending.discard)

    async def _keep(self) -> None:
        log = logs.get("portico.state")
        known = ""
        while True:
            try:
                await self._session()
            except asyncio.CancelledError:
                raise
            except Exception as error:
                sentence = self._connector.sentence(error)
                if sentence != known:
                    log.debug("messages are interrupted", cause=sentence)
                known = sentence
            await asyncio.sleep(self._backoff.pause())

    async def _session(self) -> None:
        connection = self._connector.make()
        try:
            await connect(connection)
            self._connection = connection
            if self._listeners:
                await _write(connection, encode([b"SUBSCRIBE", *self._listeners]))
            await self._read(connection)
        finally:
            self._connection = None
            for listener in (each for others in self._listeners.values() for each in others):
                listener.interrupted()
            await close(connection)

    async def _read(self, connection: AbstractConnection) -> None:
        asked = False
        while True:
            try:
                async with asyncio.timeout(PATIENCE if asked else BEAT):
                    answer = await connection.read_response(
                        disable_decoding=True, timeout=float("inf"), disconnect_on_error=False
                    )
            except TimeoutError:
                if asked:
                    raise StateUnavailable("Redis does not answer") from None
                asked = True
                await _write(connection, encode([b"PING"]))
                continue
            asked = False
            self._backoff.reset()
            self._take(answer)

    def _take(self, answer: Any) -> None:
        if not isinstance(answer, list) or len(answer) != 3:
            return  # the answer to a PING
        kind, channel, message = answer
        for listener in list(self._listeners.get(channel, ())):
            if kind == b"message":
                listener.deliver(message)
            elif kind == b"subscribe":
                listener.confirmed()


async def _write(connection: AbstractConnection, command: bytes) -> None:
    from redis.exceptions import ConnectionError as Broken

    try:
        await connection.send_packed_command(command, check_health=False)
    except (Broken, OSError):
        return  # the reader finds out


def _call(handler: Callable[..., None], *arguments: bytes) -> None:
    try:
        handler(*arguments)
    except Exception as error:
        logs.get("portico.state").error("a message could not be handled", exc_info=error)
