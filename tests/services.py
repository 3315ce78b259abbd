"""Databases for tests: a PostgreSQL database and a Redis of each test's own, emptied or dropped afterwards.

PostgreSQL is the server at PORTICO_TEST_POSTGRES (a URL whose user may create databases), or else the one at
127.0.0.1:5432. Redis is a private redis-server on a spare port, or else the server at PORTICO_TEST_REDIS. Where there
is none, the tests that need it are skipped with the reason; with PORTICO_REQUIRE_SERVICES=1 they fail.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from typing import Any, Final, NoReturn
from urllib.parse import urlsplit, urlunsplit

import asyncpg
import pytest

POSTGRES: Final = "postgresql://postgres@127.0.0.1:5432/postgres"
PATIENCE: Final = 10.0  # seconds


@contextlib.contextmanager
def postgres() -> Iterator[str]:
    """The URL of a fresh, empty database, which is dropped at the end, whoever is still connected."""
    server = os.environ.get("PORTICO_TEST_POSTGRES") or POSTGRES
    name = f"portico_test_{secrets.token_hex(6)}"
    try:
        asyncio.run(_execute(server, f'CREATE DATABASE "{name}" TEMPLATE template0'))
    except (OSError, asyncpg.PostgresError) as error:
        where = urlsplit(server)
        missing(f"no PostgreSQL answers at {where.hostname}:{where.port or 5432}: {error}")
    try:
        yield urlunsplit(urlsplit(server)._replace(path=f"/{name}"))
    finally:
        asyncio.run(_execute(server, f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)'))


async def _execute(url: str, statement: str) -> None:
    connection = await asyncpg.connect(url, timeout=PATIENCE)
    try:
        await connection.execute(statement)
    finally:
        await connection.close()


class PrivateRedis:
    """A redis-server of a test's own, on a spare port, with nothing on disk; after `kill`, `start` keeps the port."""

    def __init__(self) -> None:
        self.port = free_port()
        self.process: subprocess.Popen[bytes] | None = None
        self._folder = tempfile.TemporaryDirectory(prefix="portico-redis-")

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}/0"

    def start(self) -> None:
        """Start the server and wait until it answers."""
        command = ["redis-server", "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
        self.process = subprocess.Popen(
            [*command, "--dir", self._folder.name], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL
        )
        deadline = time.monotonic() + PATIENCE
        while not self._answers():
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"redis-server on port {self.port} does not answer")
            time.sleep(0.01)

    def kill(self) -> None:
        """End the server at once."""
        if self.process is not None:
            self.process.kill()
            self.process.wait(PATIENCE)
            self.process = None

    def close(self) -> None:
        """End it and forget its folder."""
        self.kill()
        self._folder.cleanup()

    def _answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", self.port), 1.0) as sock:
                sock.sendall(b"PING\r\n")
                return sock.recv(16).startswith(b"+PONG")
        except OSError:
            return False


@contextlib.contextmanager
def private_redis() -> Iterator[PrivateRedis]:
    """A redis-server that the test may stop, kill and start as it likes."""
    if shutil.which("redis-server") is None:
        missing("redis-server is not installed")
    server = PrivateRedis()
    server.start()
    try:
        yield server
    finally:
        server.close()


def missing(reason: str) -> NoReturn:
    """Skip the test, or fail it where servers must be there."""
    if os.environ.get("PORTICO_REQUIRE_SERVICES") == "1":
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def _flush(url: str) -> None:
    import redis

    with contextlib.closing(redis.Redis.from_url(url)) as client:
        client.flushdb()


@pytest.fixture
def postgres_url() -> Iterator[str]:
    """The URL of an empty PostgreSQL database of this test's own."""
    with postgres() as url:
        yield url


@pytest.fixture(scope="session")
def redis_server() -> Iterator[PrivateRedis]:
    """A redis-server for the tests of this process; a test that stops it takes `private_redis()` instead."""
    with private_redis() as server:
        yield server


@pytest.fixture
def redis_url(request: pytest.FixtureRequest) -> str:
    """The URL of an empty Redis database."""
    given = os.environ.get("PORTICO_TEST_REDIS")
    if given and shutil.which("redis-server") is None:
        url = given
    else:
        server: Any = request.getfixturevalue("redis_server")
        url = server.url
    _flush(url)
    return str(url)


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest) -> str:
    """`storage.url` of an empty database of either kind; SQLite's file is inside the test's data directory."""
    if request.param == "sqlite":
        return "sqlite:///portico.db"
    return str(request.getfixturevalue("postgres_url"))
