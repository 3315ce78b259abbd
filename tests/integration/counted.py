"""What a gateway's database says was counted, and waiting for it."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from tests.unit.storage.kit import Store

URL = "sqlite:///portico.db"
SUMS = """
    SELECT c.kind, c.key_id, c.principal, c.tenant_id, r.route, r.method, m.status,
           sum(m.requests), sum(m.bytes_in), sum(m.bytes_out)
    FROM usage_minutes m JOIN usage_callers c ON c.id = m.caller JOIN usage_routes r ON r.id = m.route
    GROUP BY 1, 2, 3, 4, 5, 6, 7
"""


class Counted:
    """The sums of one gateway's database, also while the gateway runs."""

    def __init__(self, data_dir: Path, url: str = URL) -> None:
        self.data_dir = data_dir
        self.url = url

    def rows(self, statement: str = SUMS) -> list[Any]:
        with Store(self.url, self.data_dir, migrated=True) as store:
            return store.execute(statement)

    def sums(self) -> dict[tuple[Any, ...], int]:
        """(kind, key id, principal, tenant, route, method, status) → requests."""
        return {tuple(row[:7]): int(row[7]) for row in self.rows()}

    def requests(self, route: str = "users") -> int:
        """Requests on one route."""
        return sum(int(row[7]) for row in self.rows() if row[4] == route)

    def until(self, wanted: int, route: str = "users", patience: float = 15.0) -> float:
        """Wait until so many are counted; the seconds that it took."""
        began = time.monotonic()
        while (found := self.requests(route)) != wanted:
            assert found < wanted, f"{found} are counted, and there were {wanted}"
            assert time.monotonic() - began < patience, f"only {found} of {wanted} are counted"
            time.sleep(0.05)
        return time.monotonic() - began


def spool_of(data_dir: Path) -> list[Path]:
    """The segments that wait."""
    return sorted((data_dir / "spool").glob("*.spool"))
