"""How much lies in the spool, and how old that is: for the metrics, whoever is alive."""

from __future__ import annotations

import json
import time
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from portico.telemetry.spool.format import SUFFIX

INTAKE: Final = "intake"  # locked by the process that takes in; touched when it has taken all; holds its counts


@dataclass(frozen=True, slots=True)
class Measures:
    """`age`: seconds since all that was there had been taken in. `refused` and `missing` count records."""

    bytes: int
    age: float
    refused: int
    missing: int


def measure(folder: Path) -> Measures | None:
    """None when there is no spool."""
    if not folder.is_dir():
        return None
    size, oldest = 0, 0.0
    for path in folder.glob(f"*{SUFFIX}"):
        with suppress(FileNotFoundError):  # it was just taken in
            state = path.stat()
            size += state.st_size
            oldest = min(oldest or state.st_mtime, state.st_mtime)
    taken, counts = _intake(folder / INTAKE)
    since = taken or oldest
    age = max(0.0, time.time() - since) if size and since else 0.0
    return Measures(size, age, counts.get("refused", 0), counts.get("missing", 0))


def _intake(path: Path) -> tuple[float, dict[str, int]]:
    try:
        taken = path.stat().st_mtime
        counts = json.loads(path.read_text() or "{}")
    except (FileNotFoundError, ValueError):
        return 0.0, {}
    return taken, counts if isinstance(counts, dict) else {}
