"""Where the edge listens, and its bounds."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class KeyPair:
    """A certificate chain and its private key: PEM files by absolute path; no `key`: it is in the file of `cert`."""

    cert: str
    key: str | None = None


@dataclass(frozen=True, slots=True)
class Tls:
    """TLS of a listener; off without any certificate. `client_auth`: none, optional or required."""

    cert: str | None = None
    key: str | None = None
    client_ca: str | None = None
    client_auth: str = "none"
    certificates: tuple[KeyPair, ...] = ()  # further ones, chosen by the name that the client asks for

    @property
    def on(self) -> bool:
        """Whether the listener speaks TLS."""
        return self.cert is not None or bool(self.certificates)


@dataclass(frozen=True, slots=True)
class Listen:
    """A listening address: `unix` or `host` and `port`. `metrics` marks the one that serves /metrics to anyone."""

    name: str
    host: str = ""
    port: int = 0
    unix: str = ""
    metrics: bool = False
    tls: Tls = Tls()


@dataclass(frozen=True, slots=True)
class Limits:
    header_bytes: int = 32 * 1024
    body_bytes: int = 16 * 1024 * 1024
    connections: int = 10_000
    in_flight: int = 10_000
    buffered: int = 256 * 1024 * 1024
    header_timeout: float = 10.0
    idle_timeout: float = 75.0
    drain: float = 30.0


@dataclass(frozen=True, slots=True)
class Server:
    listen: tuple[Listen, ...]
    workers: int = 1
    services_processes: int = 1
    trusted_proxies: tuple[str, ...] = ()
    proxy_protocol: bool = False
    limits: Limits = Limits()
