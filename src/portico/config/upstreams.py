"""`upstreams`: the services that Portico stands in front of."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Final

from pydantic import BeforeValidator, Field

from portico import contracts
from portico.config import grammar
from portico.config.base import Several, Strict, beside
from portico.config.scalars import Duration, Parse, PositiveDuration, Ratio, Text, Truth, integer
from portico.config.substitute import Finding

_URL: Final = re.compile(r"(https?)://(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9_.-]{1,253})(?::([0-9]{1,5}))?/?\Z", re.ASCII)
_TARGET: Final = "must be http://HOST:PORT or https://HOST:PORT without path, user or query, or unix:/ABSOLUTE/PATH"
_ERRORS: Final = re.compile(r"connect|reset|4[0-9]{2}|5[0-9]{2}", re.ASCII)


def _url(value: Any) -> str:
    if isinstance(value, str) and value.startswith("unix:"):
        return "unix:" + grammar.unix_path(value[len("unix:") :])
    found = _URL.match(value) if isinstance(value, str) else None
    if found is None or (found[3] and not 0 < int(found[3]) < 65536):
        raise ValueError(_TARGET)
    grammar.host(found[2].lower())
    return f"{found[1]}://{found[2].lower()}:{int(found[3] or (443 if found[1] == 'https' else 80))}"


def _server_name(value: Any) -> str:
    if not isinstance(value, str) or value[:1] in ("*", "["):
        raise ValueError("must be a host name, such as api.example.com")
    return grammar.host(value.lower())


def _balance(value: Any) -> str:
    if isinstance(value, str):
        kind, _, name = value.rpartition(":")
        if value in ("round_robin", "least_requests", "hash:client"):
            return value
        if kind in ("hash:header", "hash:cookie") and re.fullmatch(grammar.TOKEN + "{1,256}", name, re.ASCII):
            return value
    raise ValueError("must be round_robin, least_requests, hash:header:NAME, hash:cookie:NAME or hash:client")


def _failure(value: Any) -> str:
    text = str(value) if isinstance(value, int) and not isinstance(value, bool) else value
    if not isinstance(text, str) or not _ERRORS.fullmatch(text):
        raise ValueError("must be connect, reset or a status such as 503")
    return text


def _spelled_out(value: Any) -> Any:
    return {"url": value} if isinstance(value, str) else value


_URL_SCHEMA: Final = {"type": "string", "pattern": r"^(https?://[^/?#@\s]+/?|unix:/.+)$"}
_BALANCE_SCHEMA: Final = {
    "type": "string",
    "pattern": r"^(round_robin|least_requests|hash:(client|(header|cookie):.+))$",
}
_FAILURE_SCHEMA: Final = {
    "anyOf": [
        {"type": "integer", "minimum": 400, "maximum": 599},
        {"type": "string", "pattern": "^(connect|reset|[45][0-9]{2})$"},
    ]
}


Url = Annotated[str, Parse(_url, _URL_SCHEMA, text=True)]


class Target(Strict):
    """One address of an upstream."""

    url: Url = Field(description="http://HOST:PORT, https://HOST:PORT or unix:PATH")
    weight: Annotated[int, integer(1, 1000)] = Field(
        default=1, description="Its share of the requests beside the others'"
    )

    def plain(self) -> contracts.Target:
        if self.url.startswith("unix:"):
            return contracts.Target(self.url, "unix", path=self.url[len("unix:") :], weight=self.weight)
        scheme, _, authority = self.url.partition("://")
        host, _, port = authority.rpartition(":")
        return contracts.Target(self.url, scheme, host.strip("[]"), int(port), weight=self.weight)


class Timeouts(Strict):
    """Times after which an upstream is given up; 0s is never."""

    connect: Duration = Field(default=2.0, description="Until connected", json_schema_extra={"default": "2s"})
    first_byte: Duration = Field(
        default=30.0, description="Until an answer begins", json_schema_extra={"default": "30s"}
    )
    idle: Duration = Field(
        default=60.0, description="Between two pieces of a body", json_schema_extra={"default": "60s"}
    )
    total: Duration = Field(default=0.0, description="For the whole exchange", json_schema_extra={"default": "0s"})

    def plain(self) -> contracts.Timeouts:
        return contracts.Timeouts(self.connect, self.first_byte, self.idle, self.total)


class Retries(Strict):
    """When a request is tried again: one that is idempotent and has no body, or that was never sent."""

    attempts: Annotated[int, integer(0, 10)] = Field(default=1, description="Tries after the first")
    on: Several[Annotated[str, Parse(_failure, _FAILURE_SCHEMA)]] = Field(
        default_factory=lambda: ["connect", "reset", "502", "503", "504"], description="What is tried again after"
    )
    budget: Ratio = Field(
        default=0.2, description="Retries at most, as a share of requests", json_schema_extra={"default": "20%"}
    )

    def plain(self) -> contracts.Retries:
        return contracts.Retries(self.attempts, tuple(self.on), self.budget)


class Breaker(Strict):
    """When a target that fails is left alone for a while."""

    failure_ratio: Ratio = Field(default=0.5, description="Share of failures that opens it")
    min_requests: Annotated[int, integer(1, 1_000_000)] = Field(
        default=20, description="Requests in the window before it can open"
    )
    window: PositiveDuration = Field(default=10.0, description="Time looked at", json_schema_extra={"default": "10s"})
    open_for: PositiveDuration = Field(
        default=5.0, description="Time it stays open", json_schema_extra={"default": "5s"}
    )

    def plain(self) -> contracts.Breaker:
        return contracts.Breaker(self.failure_ratio, self.min_requests, self.window, self.open_for)


class Health(Strict):
    """How each target is asked for its health; it gets requests while it answers 2xx or 3xx."""

    path: Annotated[str, Parse(grammar.path, {"type": "string", "pattern": grammar.PATH_PATTERN}, text=True)] = Field(
        default="/health", description="Path of the check"
    )
    interval: PositiveDuration = Field(default=5.0, description="Between checks", json_schema_extra={"default": "5s"})
    timeout: PositiveDuration = Field(default=1.0, description="Of one check", json_schema_extra={"default": "1s"})
    healthy_after: Annotated[int, integer(1, 100)] = Field(default=1, description="Good answers until healthy")
    unhealthy_after: Annotated[int, integer(1, 100)] = Field(default=2, description="Bad answers until unhealthy")

    def plain(self) -> contracts.HealthCheck:
        return contracts.HealthCheck(self.path, self.interval, self.timeout, self.healthy_after, self.unhealthy_after)


class Pool(Strict):
    """Connections kept to an upstream, by each edge process."""

    max_connections: Annotated[int, integer(1, 1_000_000)] = Field(default=1024, description="Connections at a time")
    max_idle: Annotated[int, integer(0, 1_000_000)] = Field(default=256, description="Idle ones kept for reuse")

    def check(self) -> Iterator[Finding]:
        if self.max_idle > self.max_connections and "max_idle" in self.model_fields_set:
            yield ("max_idle",), "is more than max_connections"

    def plain(self) -> contracts.Pool:
        return contracts.Pool(self.max_connections, min(self.max_idle, self.max_connections))


class UpstreamTls(Strict):
    """TLS towards an upstream."""

    verify: Truth = Field(default=True, description="Check its certificate")
    ca: Text | None = Field(default=None, description="Certificate authorities, a PEM file; the system's when left out")
    cert: Text | None = Field(default=None, description="Our certificate, a PEM file")
    key: Text | None = Field(default=None, description="Its private key, a PEM file; in the file of cert when left out")
    server_name: Annotated[str, Parse(_server_name, {"type": "string", "minLength": 1}, text=True)] | None = Field(
        default=None, description="Name to ask for, and to expect in its certificate; the target's host when left out"
    )

    def check(self) -> Iterator[Finding]:
        if self.key is not None and self.cert is None:
            yield ("key",), "needs cert beside it"
        if not self.verify and self.ca is not None:
            yield ("ca",), "says nothing with verify: false, which believes every certificate"

    def plain(self, folder: Path) -> contracts.UpstreamTls:
        ca, cert, key = (beside(folder, file) for file in (self.ca, self.cert, self.key))
        return contracts.UpstreamTls(self.verify, ca, cert, key, self.server_name)


AnyTarget = Annotated[Target, BeforeValidator(_spelled_out, json_schema_input_type=Url | Target)]


class Upstream(Strict):
    """One service with one or more addresses."""

    targets: Several[AnyTarget] = Field(description="Its addresses: URLs, or {url, weight}")
    balance: Annotated[str, Parse(_balance, _BALANCE_SCHEMA, text=True)] = Field(
        default="round_robin", description="How requests are spread over the targets"
    )
    timeouts: Timeouts = Field(default_factory=Timeouts, description="When it is given up")
    retries: Retries = Field(default_factory=Retries, description="When it is tried again")
    breaker: Breaker = Field(default_factory=Breaker, description="When it is left alone")
    health: Health | None = Field(default=None, description="How its health is asked for; null: not at all")
    pool: Pool = Field(default_factory=Pool, description="Connections to it")
    tls: UpstreamTls = Field(default_factory=UpstreamTls, description="TLS towards it")

    def check(self) -> Iterator[Finding]:
        if not self.targets:
            yield ("targets",), "needs at least one target"
        seen: dict[str, int] = {}
        for index, target in enumerate(self.targets):
            if seen.setdefault(target.url, index) != index:
                yield ("targets", index), f"is the same as targets[{seen[target.url]}]; use weight for a larger share"
        if self.tls != UpstreamTls() and not any(target.url.startswith("https:") for target in self.targets):
            yield ("tls",), "is for https targets, and there are none"

    def plain(self, name: str, folder: Path) -> contracts.Upstream:
        return contracts.Upstream(
            name,
            tuple(target.plain() for target in self.targets),
            self.balance,
            self.timeouts.plain(),
            self.retries.plain(),
            self.breaker.plain(),
            self.health.plain() if self.health is not None else None,
            self.pool.plain(),
            self.tls.plain(folder),
        )
