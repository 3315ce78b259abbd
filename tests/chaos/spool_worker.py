"""Takes in a spool until it is killed: `python -m tests.chaos.spool_worker DATA_DIR URL`; says so when it begins."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from portico.services.usage import intake
from portico.services.usage.takers import TAKERS
from portico.storage.database import Database
from portico.storage.usage.intake import SpoolIntake
from portico.storage.vault import Vault

SMALL = 10  # rows a transaction: many moments to be killed at


async def work(data_dir: Path, url: str) -> None:
    """Until the end."""
    vault = Vault.open(data_dir, None)
    db = Database(url, data_dir, vault.key("database"))
    await db.open()
    taking = intake.Intake(data_dir / "spool", SpoolIntake(db, vault, TAKERS), most=SMALL)
    taking.start()
    print("begun", flush=True)
    await asyncio.Event().wait()


if __name__ == "__main__":
    intake.EVERY = 0.01  # type: ignore[misc]
    asyncio.run(work(Path(sys.argv[1]), sys.argv[2]))
