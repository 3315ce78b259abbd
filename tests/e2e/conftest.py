"""One gateway on each kind of database, for all tests of the services' interface."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.e2e.api import Api, running, somewhere


@pytest.fixture(scope="session", params=["sqlite", "postgresql"])
def served(request: pytest.FixtureRequest) -> Iterator[Api]:
    """A gateway that many tests share."""
    with running(request.param, {"outbound": {"allow": ["127.0.0.1/32"]}}) as found:
        yield found


@pytest.fixture
def api(served: Api) -> Api:
    """Calls to the shared gateway from an address of this test's own."""
    mine = Api(served.gateway, somewhere())
    mine.kept = served.kept
    return mine
