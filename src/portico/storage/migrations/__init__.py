"""Migrations of the schema, by Alembic. What a start must know of them is here, so that it needn't load Alembic.

A new one is a file in `versions/`, and its number goes to the end of `KNOWN`. The migrated schema must be the one that
`portico.storage.tables` describes, on both databases.
"""

from __future__ import annotations

from typing import Final

KNOWN: Final = ("0001", "0002", "0003", "0004", "0005", "0006", "0007", "0008")
HEAD: Final = KNOWN[-1]
TABLE: Final = "portico_version"  # not Alembic's own name: the database may be another program's too
