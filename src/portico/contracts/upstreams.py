"""Upstreams: where requests go, and how they are asked."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Timeouts:
    """Seconds; 0 means none."""

    connect: float = 2.0
    first_byte: float = 30.0
    idle: float = 60.0
    total: float = 0.0


@dataclass(frozen=True, slots=True)
class Target:
    """One address of an upstream; `path` is set for Unix sockets, `host` and `port` otherwise."""

    url: str
    scheme: str = "http"
    host: str = ""
    port: int = 0
    path: str = ""
    weight: int = 1


@dataclass(frozen=True, slots=True)
class Retries:
    attempts: int = 1
    on: tuple[str, ...] = ("connect", "reset", "502", "503", "504")
    budget: float = 0.2


@dataclass(frozen=True, slots=True)
class Breaker:
    failure_ratio: float = 0.5
    min_requests: int = 20
    window: float = 10.0
    open_for: float = 5.0


@dataclass(frozen=True, slots=True)
class HealthCheck:
    path: str = "/health"
    interval: float = 5.0
    timeout: float = 1.0
    healthy_after: int = 1
    unhealthy_after: int = 2


@dataclass(frozen=True, slots=True)
class Pool:
    max_connections: int = 1024
    max_idle: int = 256


@dataclass(frozen=True, slots=True)
class UpstreamTls:
    verify: bool = True
    ca: str | None = None
    cert: str | None = None
    key: str | None = None
    server_name: str | None = None


@dataclass(frozen=True, slots=True)
class Upstream:
    name: str
    targets: tuple[Target, ...]
    balance: str = "round_robin"
    timeouts: Timeouts = Timeouts()
    retries: Retries = Retries()
    breaker: Breaker = Breaker()
    health: HealthCheck | None = None
    pool: Pool = Pool()
    tls: UpstreamTls = UpstreamTls()
