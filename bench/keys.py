"""One key of a million: a database with so many keys, all their prefixes in the edge's memory, and one that is used.

As a program: fills the database of a data directory, and prints a key.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import subprocess
import sys
from pathlib import Path
from typing import Any, Final

import load
from gateways import Shape, portico, upstream
from load import Runs, Traffic
from servers import Server, pss

FEW: Final = 1000
MANY: Final = 1_000_000
QUICK: Final = 20_000
AT_ONCE: Final = 20_000


def measure(folder: Path, rounds: int, seconds: float) -> Runs:
    """The same traffic with a key of few and with one of many; a single round is a quick look, with fewer."""
    with contextlib.ExitStack() as stack:
        target = stack.enter_context(upstream(folder))
        cells: list[tuple[Traffic, list[Server]]] = []
        for count in (FEW, MANY if rounds > 1 else QUICK):
            server = portico(folder, target.port, Shape())
            key = filled(folder / server.log.partition("/")[0], count)
            stack.enter_context(server)
            server.wait("/health/ready")  # until the services are, nobody knows the key
            cells.append((Traffic(f"one key of {count:,}", key=key), [server]))
        runs = load.measure(cells, rounds, seconds)
        for traffic, (server,) in cells:
            memory = pss(server.edge()) / 1024
            for run in runs[traffic.name][server.name]:
                run["edge_mb"] = memory
        return runs


def filled(home: Path, count: int) -> str:
    """Fill the data directory in a process of its own; a key without limits."""
    ran = subprocess.run(
        [sys.executable, __file__, str(home), str(count)], check=True, stdout=subprocess.PIPE, text=True
    )
    return ran.stdout.strip()


async def fill(home: Path, count: int) -> str:
    """Make the vault and the database, and put keys into it: one as it is issued, the others by the thousand."""
    from sqlalchemy import insert

    from portico.storage.accounts import Keys, NewKey
    from portico.storage.database import Database
    from portico.storage.ids import now, uuid7
    from portico.storage.tables import KeyRow
    from portico.storage.vault import Vault
    from portico.storage.vault.binding import open_database

    home.mkdir(mode=0o700)
    vault = Vault.open(home, None)
    db = Database("sqlite:///portico.db", home, vault.key("database"))
    await open_database(vault, db)
    try:
        _, key = await Keys(db).issue(NewKey("one", per_minute=0, per_day=0))
        row: dict[str, Any] = {
            "tenant_id": "default",
            "owner_id": None,
            "permissions": [],
            "networks": [],
            "name": "key",
        }
        row |= {"per_minute": 0, "per_day": 0, "window": "", "rate": "", "burst": 0, "quota": "", "hint": "pk_0000000"}
        row |= {"created_at": now(), "expires_at": None, "revoked_at": None, "last_used_at": None, "replaces": None}
        for left in range(count - 1, 0, -AT_ONCE):
            rows = [{**row, "id": uuid7(), "sha256": secrets.token_bytes(32)} for _ in range(min(AT_ONCE, left))]
            async with db.write() as session:
                await session.execute(insert(KeyRow), rows)
    finally:
        await db.close()
    return str(key)


if __name__ == "__main__":
    print(asyncio.run(fill(Path(sys.argv[1]), int(sys.argv[2]))))
