"""Usage: who made how many requests, where, when. `at` is the beginning of a span, in seconds since 1970.

`usage_minutes`, `usage_hours` and `usage_days` have the same columns: each level by itself has all that was counted,
for as long as it is kept, and lies in the order of callers, so that what one caller did is read in one go. Questions
about all callers read two smaller tables: `usage_totals`, with one row a tenant, span and status, and `usage_ranks`,
with one row for each caller and each route in spans that grow, of which a year needs about a dozen.

Latencies are counts in the 14 buckets of `portico.telemetry.latency`, and their sum in microseconds: whole numbers, so
that sums are the same in whatever order they are made.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import (
    BigInteger,
    Column,
    Index,
    Integer,
    LargeBinary,
    PrimaryKeyConstraint,
    SmallInteger,
    String,
    Table,
    UniqueConstraint,
    text,
)

from portico.storage.tables.base import Base

Number: Final = BigInteger().with_variant(Integer(), "sqlite")  # given out by the database
KEY: Final = "key"  # kinds of usage_ranks: a caller's kind, or ROUTE
ROUTE: Final = "route"
EVERYONE: Final = ""  # in the place of a tenant: all of them
BUCKETS: Final = tuple(f"bucket_{index}" for index in range(14))
SUMS: Final = ("requests", "bytes_in", "bytes_out", "micros")
COUNTED: Final = (*SUMS, *BUCKETS)  # the columns that are added up
RANKED: Final = ("requests", "errors", *SUMS[1:])
# `confidence` is a sum, in millionths; `guarded` are those of the texts that guards have judged.
VERDICTS: Final = ("texts", "confidence", "degraded", "cached", "guarded")


def _counts(names: tuple[str, ...]) -> list[Column[int]]:
    return [Column(name, BigInteger, nullable=False) for name in names]


def _level(name: str) -> Table:
    return Table(
        name,
        Base.metadata,
        Column("caller", BigInteger, nullable=False),
        Column("at", BigInteger, nullable=False),
        Column("route", BigInteger, nullable=False),
        Column("status", SmallInteger, nullable=False),
        *_counts(COUNTED),
        PrimaryKeyConstraint("caller", "at", "route", "status"),
        sqlite_with_rowid=False,
    )


# Whom a row of a level or of `usage_ranks` is about. `key_id` is "" for people, devices and those who showed nothing.
usage_callers: Final = Table(
    "usage_callers",
    Base.metadata,
    Column("id", Number, primary_key=True, autoincrement=True),
    Column("tenant_id", String(64), nullable=False),
    Column("kind", String(16), nullable=False),
    Column("key_id", String(255), nullable=False),
    Column("principal", String(1024), nullable=False),
    Column("sha256", LargeBinary(32), nullable=False),  # of all of these: short to look up
    UniqueConstraint("sha256"),
    Index("ix_usage_callers_key", "key_id"),
    Index("ix_usage_callers_principal", "principal"),
)
usage_routes: Final = Table(
    "usage_routes",
    Base.metadata,
    Column("id", Number, primary_key=True, autoincrement=True),
    Column("route", String(255), nullable=False),
    Column("method", String(32), nullable=False),
    Column("sha256", LargeBinary(32), nullable=False),
    UniqueConstraint("sha256"),
)
usage_minutes: Final = _level("usage_minutes")
usage_hours: Final = _level("usage_hours")
usage_days: Final = _level("usage_days")
usage_totals: Final = Table(
    "usage_totals",
    Base.metadata,
    Column("span", Integer, nullable=False),  # seconds: a minute, an hour or a day
    Column("tenant_id", String(64), nullable=False),  # or EVERYONE
    Column("at", BigInteger, nullable=False),
    Column("status", SmallInteger, nullable=False),
    *_counts(COUNTED),
    PrimaryKeyConstraint("span", "tenant_id", "at", "status"),
    sqlite_with_rowid=False,
)
usage_ranks: Final = Table(
    "usage_ranks",
    Base.metadata,
    Column("kind", String(16), nullable=False),  # the caller's, or "route"
    Column("span", Integer, nullable=False),  # seconds: one of SPANS
    Column("at", BigInteger, nullable=False),
    Column("tenant_id", String(64), nullable=False),
    Column("subject", BigInteger, nullable=False),  # id of a caller or a route
    *_counts(RANKED),
    PrimaryKeyConstraint("kind", "span", "at", "tenant_id", "subject"),
    sqlite_with_rowid=False,
)
# What texts were judged to be, whom they came from and who judged: `malicious` is 0 or 1, `engine` a name.
usage_verdicts: Final = Table(
    "usage_verdicts",
    Base.metadata,
    Column("caller", BigInteger, nullable=False),
    Column("span", Integer, nullable=False),  # seconds: a minute, an hour or a day
    Column("at", BigInteger, nullable=False),
    Column("engine", String(64), nullable=False),
    Column("malicious", SmallInteger, nullable=False),
    *_counts(VERDICTS[:-1]),
    Column("guarded", BigInteger, nullable=False, server_default=text("0")),
    PrimaryKeyConstraint("caller", "span", "at", "engine", "malicious"),
    sqlite_with_rowid=False,
)
usage_verdict_totals: Final = Table(
    "usage_verdict_totals",
    Base.metadata,
    Column("span", Integer, nullable=False),
    Column("tenant_id", String(64), nullable=False),  # or EVERYONE
    Column("at", BigInteger, nullable=False),
    Column("engine", String(64), nullable=False),
    Column("malicious", SmallInteger, nullable=False),
    *_counts(VERDICTS[:-1]),
    Column("guarded", BigInteger, nullable=False, server_default=text("0")),
    PrimaryKeyConstraint("span", "tenant_id", "at", "engine", "malicious"),
    sqlite_with_rowid=False,
)
requests_recent: Final = Table(
    "requests_recent",
    Base.metadata,
    Column("number", Number, primary_key=True, autoincrement=True),
    Column("at", BigInteger, nullable=False),  # microseconds since 1970
    Column("request_id", String(128), nullable=False),
    Column("tenant_id", String(64), nullable=False),
    Column("kind", String(16), nullable=False),
    Column("key_id", String(255), nullable=False),
    Column("principal", String(1024), nullable=False),
    Column("route", String(255), nullable=False),
    Column("method", String(32), nullable=False),
    Column("path", String(2048), nullable=False),
    Column("status", SmallInteger, nullable=False),
    Column("code", String(64), nullable=False),
    Column("micros", BigInteger, nullable=False),
    Column("bytes_in", BigInteger, nullable=False),
    Column("bytes_out", BigInteger, nullable=False),
    Column("client", String(64), nullable=False),
)

MINUTE: Final = 60
HOUR: Final = 3600
DAY: Final = 86400
LEVELS: Final = {MINUTE: usage_minutes, HOUR: usage_hours, DAY: usage_days}
# Of usage_ranks; each is a multiple of the one before. From a day on they double: of a year there are at most 16.
SPANS: Final = (HOUR, 6 * HOUR, *(days * DAY for days in (1, 2, 4, 8, 16, 32, 64)))
