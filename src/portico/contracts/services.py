"""What the services keep, tell and run: the database, usage, the audit trail, state, spans, jobs, calls outside."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Storage:
    """The database: `sqlite:///FILE` (inside the data directory when relative) or `postgresql://…`."""

    url: str = "sqlite:///portico.db"


@dataclass(frozen=True, slots=True)
class Backups:
    """Encrypted copies of the database: one each `every` seconds (0: none) in the folder `to`, the newest `keep`."""

    every: float = 0.0
    keep: int = 7
    to: str = ""


@dataclass(frozen=True, slots=True)
class Usage:
    """How long what is counted is kept by the minute, the hour and the day; the newest `recent` requests in detail."""

    minutes: float = 7 * 86400.0
    hours: float = 90 * 86400.0
    days: float = 1826 * 86400.0
    recent: int = 10_000


@dataclass(frozen=True, slots=True)
class Audit:
    """Records are kept for `keep` seconds (0: for ever); heads of their chains go to `heads_url` too ("": nowhere)."""

    keep: float = 365 * 86400.0
    heads_url: str = ""


@dataclass(frozen=True, slots=True)
class State:
    """Shared state: `memory://` or `redis://…`; `wait` is the longest that a request waits for it."""

    url: str = "memory://"
    wait: float = 0.05


@dataclass(frozen=True, slots=True)
class Tracing:
    """Spans: a share `sample` of requests goes to `endpoint` (OTLP/HTTP, the whole URL) with `headers`.

    `trust`: a caller's traceparent decides in place of `sample`.
    """

    endpoint: str
    sample: float = 0.01
    trust: bool = False
    headers: dict[str, str] = field(default_factory=dict, repr=False)  # the edge is not told
    service_name: str = "portico"


@dataclass(frozen=True, slots=True)
class Queue:
    """How many jobs of a queue a process runs at once."""

    name: str
    concurrency: int


@dataclass(frozen=True, slots=True)
class Jobs:
    """Background work; `lease` and `keep` in seconds. `executor` is table, or celery with the URL of its `broker`."""

    concurrency: tuple[Queue, ...] = (Queue("default", 10),)
    lease: float = 30.0
    keep: float = 30 * 86400.0
    executor: str = "table"
    broker: str = field(default="", repr=False)  # may hold a password; the edge is not told


@dataclass(frozen=True, slots=True)
class Outbound:
    """Whom the services may call: `mode` public, allow_list or none; networks and host names in `allow` and `deny`."""

    mode: str = "public"
    allow: tuple[str, ...] = ()
    deny: tuple[str, ...] = ()
    proxy: str = field(default="", repr=False)  # http://[USER:PASSWORD@]HOST:PORT
