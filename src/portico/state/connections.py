"""Connections to Redis: from its URL, with back-off between attempts, and errors as sentences without credentials."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import urlsplit

from portico.errors import StateUnavailable

if TYPE_CHECKING:
    from redis.asyncio.connection import AbstractConnection

CONNECT: Final = 1.0  # seconds until a new connection must have answered its first question
FIRST: Final = 0.05  # seconds of back-off
LONGEST: Final = 1.0
OPTIONS: Final = frozenset(
    [
        "db",
        "host",
        "port",
        "path",
        "username",
        "password",
        "connection_class",
        "ssl_cert_reqs",
        "ssl_ca_certs",
        "ssl_certfile",
        "ssl_keyfile",
        "ssl_check_hostname",
    ]
)


class Connector:
    """Makes connections to the server of one URL."""

    def __init__(self, url: str) -> None:
        self._url = url
        self.where = _where(url)

    def make(self) -> AbstractConnection:
        """A connection that is not open yet; StateUnavailable when the URL has a part that is not understood."""
        from redis.asyncio.connection import Connection, parse_url
        from redis.asyncio.retry import Retry
        from redis.backoff import NoBackoff

        try:
            options: dict[str, Any] = dict(parse_url(self._url))
        except ValueError:
            raise StateUnavailable("state.url can't be read") from None
        unknown = sorted(options.keys() - OPTIONS)
        if unknown:
            raise StateUnavailable(f"state.url has an option that is not known: {unknown[0]}")
        kind = options.pop("connection_class", Connection)
        connection: AbstractConnection = kind(
            **options,
            protocol=2,
            socket_timeout=None,
            socket_connect_timeout=CONNECT,
            retry=Retry(NoBackoff(), 0),
            driver_info=None,
        )
        return connection

    def sentence(self, error: BaseException) -> str:
        """What is wrong, for logs and operators."""
        from redis import exceptions

        if isinstance(error, StateUnavailable):
            return str(error)
        if isinstance(
            error, exceptions.AuthenticationError | exceptions.AuthorizationError | exceptions.NoPermissionError
        ):
            return f"Redis at {self.where} refuses the credentials"
        if isinstance(error, exceptions.BusyLoadingError):
            return f"Redis at {self.where} is loading its data"
        if isinstance(error, exceptions.TimeoutError | TimeoutError):
            return f"Redis at {self.where} does not answer"
        if isinstance(error, exceptions.ResponseError):
            return f"Redis at {self.where} refuses: {str(error).split(' ')[0][:32]}"
        return f"no connection to Redis at {self.where}"


def _where(url: str) -> str:
    """The server without its credentials."""
    try:
        parts = urlsplit(url)
        return parts.path if parts.scheme == "unix" else f"{parts.hostname}:{parts.port or 6379}"
    except ValueError:
        return "state.url"


class Backoff:
    """Seconds to wait before the next attempt: doubling, at most one, never quite the same for two processes."""

    def __init__(self) -> None:
        self._next = FIRST

    def reset(self) -> None:
        """The last attempt went well."""
        self._next = FIRST

    def pause(self) -> float:
        """How long to wait now."""
        pause = self._next * random.uniform(0.5, 1.0)
        self._next = min(LONGEST, self._next * 2)
        return pause


async def connect(connection: AbstractConnection) -> None:
    """Open a connection, credentials and database included; TimeoutError after CONNECT seconds."""
    opened: Any = connection
    async with asyncio.timeout(CONNECT):
        await opened.connect()


async def close(connection: AbstractConnection) -> None:
    """End a connection at once: one that waits to send the rest to a dead server would stay for minutes."""
    writer = connection._writer
    if writer is not None:
        writer.transport.abort()
    await connection.disconnect(nowait=True)


def encode(parts: Sequence[bytes]) -> bytes:
    """A command as Redis reads it (RESP: an array of bulk strings)."""
    out = [b"*%d\r\n" % len(parts)]
    for part in parts:
        out.append(b"$%d\r\n%b\r\n" % (len(part), part))
    return b"".join(out)
