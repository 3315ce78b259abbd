"""The databases that tests are given are there, empty, and gone afterwards."""

from __future__ import annotations

import asyncio
import os

import asyncpg
import pytest
import redis
from tests.services import POSTGRES, postgres, private_redis


def test_a_database_is_empty_and_gone_afterwards() -> None:
    async def tables(url: str) -> int:
        connection = await asyncpg.connect(url)
        try:
            query = "select count(*) from information_schema.tables where table_schema = 'public'"
            return int(await connection.fetchval(query))
        finally:
            await connection.close()

    with postgres() as url:
        assert asyncio.run(tables(url)) == 0
    with pytest.raises(asyncpg.InvalidCatalogNameError):
        asyncio.run(tables(url))


@pytest.mark.parametrize("round_", [1, 2])
def test_each_test_gets_an_empty_redis(redis_url: str, round_: int) -> None:
    client = redis.Redis.from_url(redis_url)
    assert client.dbsize() == 0
    client.set("left", round_)
    client.close()


def test_a_private_redis_comes_back_on_its_port() -> None:
    with private_redis() as server:
        client = redis.Redis.from_url(server.url)
        client.set("a", 1)
        server.kill()
        with pytest.raises(redis.ConnectionError):
            client.ping()
        server.start()
        assert client.ping()
        assert client.get("a") is None
        client.close()


def test_where_there_is_no_server_the_test_is_skipped_or_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PORTICO_TEST_POSTGRES", "postgresql://postgres@127.0.0.1:1/postgres")
    monkeypatch.setenv("PORTICO_REQUIRE_SERVICES", "0")
    with pytest.raises(pytest.skip.Exception, match=r"no PostgreSQL answers at 127\.0\.0\.1:1: "), postgres():
        pass
    monkeypatch.setenv("PORTICO_REQUIRE_SERVICES", "1")
    with pytest.raises(pytest.fail.Exception), postgres():
        pass


def test_the_database_url_is_of_both_kinds(database_url: str) -> None:
    expected = urlsplit_netloc(os.environ.get("PORTICO_TEST_POSTGRES") or POSTGRES)
    assert database_url == "sqlite:///portico.db" or urlsplit_netloc(database_url) == expected


def urlsplit_netloc(url: str) -> str:
    from urllib.parse import urlsplit

    return urlsplit(url).netloc
