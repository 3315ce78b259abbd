"""The snapshot as a whole, as JSON and back."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, fields, is_dataclass
from types import UnionType
from typing import Any, Union, get_args, get_origin, get_type_hints

from portico.contracts.detection import Detection
from portico.contracts.identity import Identity
from portico.contracts.routes import Key, Route
from portico.contracts.server import Server
from portico.contracts.services import Audit, Backups, Jobs, Outbound, State, Storage, Tracing, Usage
from portico.contracts.upstreams import Upstream


@dataclass(frozen=True, slots=True)
class PluginSpec:
    """A plugin to start: its class by import string and its validated, plain configuration."""

    id: str
    factory: str
    config: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Everything the edge and the services run on. Immutable; a reload makes another with a higher version."""

    version: int
    source: str
    server: Server
    upstreams: tuple[Upstream, ...] = ()
    keys: tuple[Key, ...] = ()
    routes: tuple[Route, ...] = ()
    plugins: tuple[PluginSpec, ...] = ()
    identity: Identity = Identity()
    storage: Storage = Storage()  # the edge is not told
    backups: Backups = Backups()
    usage: Usage = Usage()
    audit: Audit = Audit()  # the edge is not told
    state: State = State()
    tracing: Tracing | None = None
    outbound: Outbound = Outbound()  # the edge is not told
    jobs: Jobs = Jobs()  # nor of these
    detection: Detection = Detection()  # nor of this
    data_dir: str = ""
    log_level: str = "info"
    log_format: str = "auto"
    demo: bool = False  # `portico up --demo`: /metrics is open


@dataclass(frozen=True, slots=True)
class Boot:
    """What a services process is told at its start beside the snapshot."""

    data_dir: str
    index: int = 0
    passphrase: str | None = field(default=None, repr=False)  # of the vault; None: a key file
    internal_key: bytes = field(default=b"", repr=False)  # shared with the edge


def dump(snapshot: Snapshot) -> str:
    """The snapshot as JSON text."""
    return json.dumps(asdict(snapshot), separators=(",", ":"))


def load(text: str) -> Snapshot:
    """The snapshot that `dump` wrote."""
    snapshot = _Loader().build(Snapshot, json.loads(text))
    assert isinstance(snapshot, Snapshot)
    return snapshot


class _Loader:
    """Turns JSON values back into dataclasses, tuples of them and optional ones; looks each class up once."""

    def __init__(self) -> None:
        self.hints: dict[Any, dict[str, Any]] = {}

    def build(self, kind: Any, value: Any) -> Any:
        if value is None:
            return None
        if is_dataclass(kind):
            return self._dataclass(kind, value)
        origin = get_origin(kind)
        if origin is tuple:
            item = get_args(kind)[0]
            return tuple(self.build(item, each) for each in value)
        if origin in (Union, UnionType):
            return self.build(next(arg for arg in get_args(kind) if arg is not type(None)), value)
        return value

    def _dataclass(self, kind: Any, value: dict[str, Any]) -> Any:
        hints = self.hints.get(kind)
        if hints is None:
            resolved = get_type_hints(kind)
            hints = self.hints[kind] = {f.name: resolved[f.name] for f in fields(kind)}
        return kind(**{name: self.build(hint, value[name]) for name, hint in hints.items()})
