"""`server`, `log`: where Portico listens, with how many processes, and within which bounds."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

from pydantic import Field

from portico import contracts
from portico.config.base import Several, Strict, beside
from portico.config.grammar import ListenHost, Network, UnixPath
from portico.config.scalars import Duration, Name, PositiveDuration, Size, Text, Truth, choice, integer, sizes
from portico.config.substitute import Finding

Port = Annotated[int, integer(0, 65535)]
Count = Annotated[int, integer(1, 10_000_000)]


class KeyPair(Strict):
    """A certificate and its key."""

    cert: Text = Field(description="Certificate chain, a PEM file")
    key: Text | None = Field(default=None, description="Its private key, a PEM file; in the file of cert when left out")

    def plain(self, folder: Path) -> contracts.KeyPair:
        return contracts.KeyPair(str(folder / self.cert), beside(folder, self.key))


class Tls(Strict):
    """TLS of a listener; without a certificate it speaks plain HTTP."""

    cert: Text | None = Field(default=None, description="Certificate chain, a PEM file")
    key: Text | None = Field(default=None, description="Its private key, a PEM file; in the file of cert when left out")
    certificates: Several[KeyPair] = Field(
        default_factory=list, description="Further certificates, chosen by the host name that the client asks for"
    )
    client_ca: Text | None = Field(
        default=None, description="Certificate authorities of client certificates, a PEM file"
    )
    client_auth: Annotated[str, choice("none", "optional", "required")] = Field(
        default="none", description="Whether clients present a certificate"
    )

    def check(self) -> Iterator[Finding]:
        if self.key is not None and self.cert is None:
            yield ("key",), "needs cert beside it"
        if self.cert is None and not self.certificates:
            for name, default in (("client_ca", None), ("client_auth", "none")):
                if getattr(self, name) != default:
                    yield (name,), "needs cert: without a certificate there is no TLS"
        elif self.client_auth != "none" and self.client_ca is None:
            yield ("client_auth",), "needs client_ca: whose client certificates are believed"
        elif self.client_auth == "none" and self.client_ca is not None:
            yield ("client_ca",), "needs client_auth: optional or required; with none no client is asked"

    def plain(self, folder: Path) -> contracts.Tls:
        pairs = tuple(pair.plain(folder) for pair in self.certificates)
        cert, key, authorities = (beside(folder, file) for file in (self.cert, self.key, self.client_ca))
        return contracts.Tls(cert, key, authorities, self.client_auth, pairs)


class Listen(Strict):
    """A further listener: `host` and `port`, or `unix`."""

    host: ListenHost | None = Field(default=None, description="Address to listen on")
    port: Port | None = Field(default=None, description="Port to listen on; 0 lets the system choose")
    unix: UnixPath | None = Field(default=None, description="Path of a Unix socket to listen on, at most 107 bytes")
    name: Name | None = Field(default=None, description="Its name in logs; listen-1, listen-2 … when left out")
    metrics: Truth = Field(
        default=False, description="Serve /metrics to anyone here; other listeners want metrics:read"
    )
    tls: Tls = Field(default_factory=Tls, description="TLS of this listener")

    def check(self) -> Iterator[Finding]:
        if self.unix is not None and (self.host is not None or self.port is not None):
            yield ("unix",), "is given together with host or port; a listener has one or the other"
        elif self.unix is None and self.port is None:
            yield (), "needs host and port, or unix"
        elif self.unix is None and self.host is None:
            yield (), "needs host beside port"

    def plain(self, name: str, folder: Path) -> contracts.Listen:
        tls = self.tls.plain(folder)
        if self.unix is not None:
            return contracts.Listen(name, unix=self.unix, metrics=self.metrics, tls=tls)
        return contracts.Listen(name, self.host or "", self.port or 0, metrics=self.metrics, tls=tls)


class Services(Strict):
    """The processes that serve Portico's own paths."""

    processes: Annotated[int, integer(1, 64)] = Field(default=1, description="Processes of the services")


class Limits(Strict):
    """Bounds of the whole edge process."""

    header_bytes: Annotated[int, sizes(1024, "1KiB", 2**20, "1MiB")] = Field(
        default=32 * 1024, description="Largest request head", json_schema_extra={"default": "32KiB"}
    )
    body_bytes: Size = Field(
        default=16 * 2**20,
        description="Largest request body, unless its route says otherwise",
        json_schema_extra={"default": "16MiB"},
    )
    connections: Count = Field(default=10_000, description="Client connections at a time")
    in_flight: Count = Field(default=10_000, description="Requests at a time")
    buffered: Annotated[int, sizes(65536, "64KiB", 2**50, "1024TiB")] = Field(
        default=256 * 2**20,
        description="Body bytes held in memory for all requests together",
        json_schema_extra={"default": "256MiB"},
    )
    header_timeout: PositiveDuration = Field(
        default=10.0, description="Time for a request head to be complete", json_schema_extra={"default": "10s"}
    )
    idle_timeout: PositiveDuration = Field(
        default=75.0, description="Time that an idle client connection is kept", json_schema_extra={"default": "75s"}
    )
    drain: Duration = Field(
        default=30.0,
        description="Time for requests in flight to end when stopping",
        json_schema_extra={"default": "30s"},
    )

    def plain(self) -> contracts.Limits:
        return contracts.Limits(**{name: getattr(self, name) for name in type(self).model_fields})


class Server(Strict):
    """Where and how Portico listens."""

    host: ListenHost = Field(default="127.0.0.1", description="Address of the main listener")
    port: Port = Field(default=8771, description="Port of the main listener; 0 lets the system choose")
    listen: Several[Listen] = Field(default_factory=list, description="Further listeners")
    workers: Annotated[int, integer(1, 256)] = Field(default=1, description="Edge processes")
    services: Services = Field(default_factory=Services, description="The services' processes")
    trusted_proxies: Several[Network] = Field(
        default_factory=list, description="Networks whose Forwarded and X-Forwarded-* fields are believed"
    )
    proxy_protocol: Truth = Field(
        default=False, description="Every connection begins with a PROXY protocol header, version 1 or 2"
    )
    tls: Tls = Field(default_factory=Tls, description="TLS of the main listener")
    limits: Limits = Field(default_factory=Limits, description="Bounds of the edge")

    def check(self) -> Iterator[Finding]:
        taken: dict[tuple[str, int], str] = {(self.host, self.port): "server.host and server.port"}
        names = {"main": "the main listener"}
        for index, entry in enumerate(self.listen):
            where = (entry.unix, 0) if entry.unix is not None else (entry.host or "", entry.port or 0)
            if where in taken and (entry.unix is not None or entry.port):
                yield ("listen", index), f"is the address of {taken[where]} once more"
            taken.setdefault(where, f"server.listen[{index}]")
            name = entry.name or f"listen-{index + 1}"
            if name in names:
                yield ("listen", index, "name"), f"is the name of {names[name]} already; give it another"
            names.setdefault(name, f"server.listen[{index}]")

    def plain(self, folder: Path) -> contracts.Server:
        listen = [contracts.Listen("main", self.host, self.port, tls=self.tls.plain(folder))]
        listen += [entry.plain(entry.name or f"listen-{i + 1}", folder) for i, entry in enumerate(self.listen)]
        return contracts.Server(
            tuple(listen),
            self.workers,
            self.services.processes,
            tuple(self.trusted_proxies),
            self.proxy_protocol,
            self.limits.plain(),
        )


class Log(Strict):
    """What is logged and how."""

    level: Annotated[str, choice("debug", "info", "warning", "error")] = Field(
        default="info", description="Least level logged"
    )
    format: Annotated[str, choice("auto", "pretty", "json")] = Field(
        default="auto", description="auto: pretty on a terminal, JSON lines elsewhere"
    )
