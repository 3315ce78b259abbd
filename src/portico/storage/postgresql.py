"""PostgreSQL: from `storage.url` to an engine on asyncpg."""

from __future__ import annotations

from importlib.util import find_spec
from typing import Any, Final

from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from portico.errors import StorageError

CONNECT: Final = 5.0  # seconds
COMMAND: Final = 30.0
POOL: Final = 10
BUSY: Final = 10.0  # seconds to wait for a connection of the pool
SSL_MODES: Final = ("disable", "allow", "prefer", "require", "verify-ca", "verify-full")
UPGRADE_LOCK: Final = 0x706F72746963  # advisory locks: any number that nobody else takes
CHANGES_LOCK: Final = UPGRADE_LOCK + 1
AUDIT_LOCK: Final = UPGRADE_LOCK + 2
SCHEDULES_LOCK: Final = UPGRADE_LOCK + 7
CHANNEL: Final = "portico_changes"


def arguments(url: str) -> dict[str, Any]:
    """What `asyncpg.connect` is given for `url`; StorageError when it can't be understood."""
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        raise StorageError("storage.url is no address such as postgresql://user:password@host/database") from None
    query = dict(parsed.query)
    found: dict[str, Any] = {
        "host": query.pop("host", None) or parsed.host or "127.0.0.1",
        "port": parsed.port or 5432,
        "user": parsed.username,
        "password": parsed.password,
        "database": parsed.database,
        "timeout": CONNECT,
        "command_timeout": COMMAND,
        "server_settings": {"application_name": str(query.pop("application_name", "portico"))},
    }
    mode = query.pop("sslmode", None)
    if mode is not None:
        if mode not in SSL_MODES:
            raise StorageError(f"sslmode in storage.url must be one of {', '.join(SSL_MODES)}")
        found["ssl"] = mode
    if query:
        unknown = ", ".join(sorted(query))
        raise StorageError(f"storage.url knows the parameters host, application_name and sslmode, not {unknown}")
    return found


def engine(url: str) -> AsyncEngine:
    """At most POOL connections; each is tried before it is used, since the server may have been restarted."""
    given = arguments(url)
    if find_spec("asyncpg") is None:
        raise StorageError("PostgreSQL needs a driver that is not installed: pip install 'portico[postgresql]'")
    return create_async_engine(
        "postgresql+asyncpg://",
        connect_args=given,
        pool_size=POOL,
        max_overflow=0,
        pool_timeout=BUSY,
        pool_pre_ping=True,
    )
