"""`jobs`: work in the background."""

from __future__ import annotations

import re
from collections.abc import Iterator
from importlib.util import find_spec
from typing import Annotated, Any, Final

from pydantic import Field

from portico import contracts
from portico.config.base import Named, Strict
from portico.config.scalars import Duration, Parse, PositiveDuration, choice, integer, pattern
from portico.config.substitute import Finding

DEFAULT: Final = "default"
CONCURRENCY: Final = 10
# A job of webhooks waits for one receiver; those of detection are ended many at once.
BUILT_IN: Final = {DEFAULT: CONCURRENCY, "webhooks": 128, "detection": 64}
TABLE: Final = "table"
CELERY: Final = "celery"
_BROKER: Final = re.compile(r"(?:rediss?|amqps?)://[^\s]+")
LEAST_LEASE: Final = 3.0  # seconds: shorter, and a busy machine would take the living for dead


def _broker(value: Any) -> str:
    if not isinstance(value, str) or not _BROKER.fullmatch(value):
        raise ValueError("must be redis://HOST:PORT/NUMBER or amqp://USER:PASSWORD@HOST/VHOST")
    return value


Queue = Annotated[str, pattern(r"[a-z][a-z0-9_]*(\.[a-z0-9_]+)*", "the name of a queue, such as webhooks")]


class Jobs(Strict):
    """Jobs are kept in the database, and run by the services, `portico up --role worker` or Celery."""

    concurrency: Named[Queue, Annotated[int, integer(0, 1000)]] = Field(
        default_factory=dict,
        description="Queue → how many of its jobs each process runs at once; left out: 10, webhooks 128, detection 64",
    )
    lease: PositiveDuration = Field(
        default=30.0,
        description="How long a process that runs jobs may be silent before others take them",
        json_schema_extra={"default": "30s"},
    )
    keep: Duration = Field(
        default=30 * 86400.0,
        description="How long jobs that have ended are kept",
        json_schema_extra={"default": "30d"},
    )

    executor: Annotated[str, choice(TABLE, CELERY)] = Field(
        default=TABLE, description="table: Portico's own processes run jobs; celery: workers of Celery do"
    )
    broker: Annotated[str, Parse(_broker, {"type": "string"}, text=True)] | None = Field(
        default=None, description="Celery's broker: redis://HOST:PORT/NUMBER or amqp://USER:PASSWORD@HOST/VHOST"
    )

    def check(self) -> Iterator[Finding]:
        if self.lease < LEAST_LEASE:
            yield ("lease",), f"must be at least {LEAST_LEASE:g}s"

        if self.executor == CELERY and self.broker is None:
            yield ("broker",), "is where Celery's workers get their messages: redis://HOST:PORT/NUMBER or amqp://…"
        if self.executor == TABLE and self.broker is not None:
            yield ("broker",), "is for `executor: celery`"
        if self.executor == CELERY and find_spec("celery") is None:
            yield ("executor",), "celery is not installed here: pip install 'portico[celery]'"

    def plain(self) -> contracts.Jobs:
        queues = {**BUILT_IN, **self.concurrency}
        found = tuple(contracts.Queue(name, count) for name, count in sorted(queues.items()))
        return contracts.Jobs(found, self.lease, self.keep, self.executor, self.broker or "")
