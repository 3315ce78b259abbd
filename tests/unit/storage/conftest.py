from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.services import postgres
from tests.unit.storage.kit import Store


@pytest.fixture(scope="session")
def empty_sqlite(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A data directory with a vault and an empty database, to be copied."""
    folder = tmp_path_factory.mktemp("empty")
    with Store("sqlite:///portico.db", folder):
        pass
    return folder


@pytest.fixture(scope="session")
def migrated_postgresql(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a PostgreSQL database with Portico's tables, for one test after the other."""
    with postgres() as url:
        with Store(url, tmp_path_factory.mktemp("migrated")):
            pass
        yield url


@pytest.fixture(params=["sqlite", "postgresql"])
def store(request: pytest.FixtureRequest, tmp_path: Path, empty_sqlite: Path) -> Iterator[Store]:
    """An open, empty database of either kind, with its vault. Leave its tables as they are: others use them."""
    shutil.copytree(empty_sqlite, tmp_path, dirs_exist_ok=True)
    url = "sqlite:///portico.db"
    if request.param == "postgresql":
        url = str(request.getfixturevalue("migrated_postgresql"))
    with Store(url, tmp_path, migrated=True) as opened:
        opened.empty()
        yield opened


@pytest.fixture
def own_store(database_url: str, tmp_path: Path) -> Iterator[Store]:
    """The same, of this test's own: it may change the tables."""
    with Store(database_url, tmp_path) as opened:
        yield opened
