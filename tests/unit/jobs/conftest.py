from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.unit.jobs.kit import Bench
from tests.unit.storage.conftest import empty_sqlite, migrated_postgresql, store
from tests.unit.storage.kit import Store

__all__ = ["bench", "empty_sqlite", "migrated_postgresql", "store"]


@pytest.fixture
def bench(store: Store) -> Iterator[Bench]:
    """Jobs over an empty database of either kind."""
    found = Bench(store)
    yield found
    store.run(found.processes.stop())
