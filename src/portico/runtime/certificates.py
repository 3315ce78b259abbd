"""Whether the certificates, keys and lists of authorities that a configuration names can be used."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

from portico.config import Settings
from portico.contracts import Snapshot, Tls
from portico.errors import ConfigError, Problem, TlsError

Path = tuple[str | int, ...]


def check(settings: Settings, snapshot: Snapshot) -> list[str]:
    """What is worth a warning about them. ConfigError with every one that can't be used."""
    listeners = [(place, tls) for place, tls in listening(snapshot) if tls.on]
    upstreams = [upstream for upstream in snapshot.upstreams if any(t.scheme == "https" for t in upstream.targets)]
    if not listeners and not upstreams:
        return []
    from portico.edge import tls as contexts  # OpenSSL takes its time to load, and most do without

    problems: list[Problem] = []
    warnings: list[str] = []
    for place, spec in listeners:
        problems += tried(settings, place, contexts.server_tls, spec)
        if not problems:
            warnings += [str(settings.problem((*place, *path), text)) for path, text in expiring(spec)]
    for upstream in upstreams:
        problems += tried(settings, ("upstreams", upstream.name, "tls"), contexts.client_context, upstream.tls)
    if problems:
        raise ConfigError(problems)
    return warnings


def listening(snapshot: Snapshot) -> Iterator[tuple[Path, Tls]]:
    """The TLS of every listener, with its place in the file."""
    for index, listen in enumerate(snapshot.server.listen):
        yield ("server", "tls") if index == 0 else ("server", "listen", index - 1, "tls"), listen.tls


def tried(settings: Settings, place: Path, make: Any, spec: Any) -> list[Problem]:
    """The problem with one `tls` section, if there is one."""
    try:
        make(spec)
    except TlsError as error:
        return [settings.problem((*place, *error.path), str(error))]
    return []


def expiring(spec: Tls) -> Iterator[tuple[Path, str]]:
    """Certificates that have expired or soon will."""
    from portico.edge.tls import expiring as found

    return found(spec, time.time())
