"""The tests' own PostgreSQL comes, answers, and leaves nothing."""

from __future__ import annotations

import asyncio
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
import pytest
from tests.services import missing, postgres

import private_postgres


def test_a_cluster_answers_and_is_gone_afterwards(monkeypatch: pytest.MonkeyPatch) -> None:
    async def folder(url: str) -> Path:
        connection = await asyncpg.connect(url)
        try:
            return Path(await connection.fetchval("show data_directory"))
        finally:
            await connection.close()

    with private_postgres.cluster() as url:
        if url is None:
            missing("PostgreSQL is not installed")
        data = asyncio.run(folder(url))
        assert data.is_dir()
        monkeypatch.setenv("PORTICO_TEST_POSTGRES", url)
        with postgres() as fresh:
            assert urlsplit(fresh).port == urlsplit(url).port
    assert not data.parent.exists()
    with pytest.raises(OSError):
        asyncio.run(folder(url))
