"""The plain values by which rooms meet: the snapshot that the edge runs on, mounts, and phases.

Nothing here validates: `portico.config` does, once, in the supervisor. All durations are seconds, all sizes bytes.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field, fields, is_dataclass
from types import UnionType
from typing import Any, Final, Union, get_args, get_origin, get_type_hints

# The order of a request. Policies of one phase run by their `order`, then their id.
IDENTIFY: Final = 10
ADMIT: Final = 20
AUTHENTICATE: Final = 30
AUTHORIZE: Final = 40
LIMIT: Final = 50
VALIDATE: Final = 60
CACHE: Final = 70
TRANSFORM: Final = 80
PHASES: Final = {
    "identify": IDENTIFY,
    "admit": ADMIT,
    "authenticate": AUTHENTICATE,
    "authorize": AUTHORIZE,
    "limit": LIMIT,
    "validate": VALIDATE,
    "cache": CACHE,
    "transform": TRANSFORM,
}

COST: Final = "X-Portico-Cost"  # of an answer of the services: how many requests this one was
SERVICES: Final = "@services"  # the upstream name of our own services
HEALTH: Final = "@health"  # answered by the edge itself
METRICS: Final = "@metrics"


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


@dataclass(frozen=True, slots=True)
class Key:
    """A static API key: its SHA-256 in hex, never the key."""

    id: str
    sha256: str
    permissions: tuple[str, ...] = ()
    tenant: str = "default"


@dataclass(frozen=True, slots=True)
class Policy:
    """One policy on one route: `factory` ("module:function") makes its behaviour from the plain `config`."""

    id: str
    phase: int
    order: int
    factory: str
    config: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Route:
    """One route as the edge runs it: `upstream` is a name of the file, or SERVICES, HEALTH, METRICS."""

    name: str
    paths: tuple[str, ...]
    upstream: str
    hosts: tuple[str, ...] = ()
    methods: tuple[str, ...] = ()
    layer: str = "file"  # file | public | app | mcp | admin
    source: str = "file"  # file, or the id of the plugin that mounted it
    rewrite: str | None = None  # the canonical path that an alias stands for
    strip_prefix: str = ""
    policies: tuple[Policy, ...] = ()
    body_bytes: int | None = None
    buffer: bool = False
    timeouts: Timeouts | None = None
    websocket: bool = True
    preserve_host: bool = True
    forward_credentials: bool = False
    redact: tuple[str, ...] = ()  # names of path parameters that no log shows


@dataclass(frozen=True, slots=True)
class Mount:
    """A path of our own services, declared in a `plugin.py` so that the edge knows it without importing the service."""

    method: str
    path: str
    aliases: tuple[str, ...] = ()
    layer: str = "public"
    credentials: tuple[str, ...] = ()  # () = none needed
    permission: str = ""
    body_bytes: int | None = None
    redact: tuple[str, ...] = ()
    costs: int = 1  # requests of a key's own limits that one may count as, at most: the answer says how many in COST


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


@dataclass(frozen=True, slots=True)
class Engine:
    """A remote detector: `url` is where a text is posted, `timeout` seconds for it, with all of its `retries`."""

    name: str
    url: str
    timeout: float = 2.0
    headers: dict[str, str] = field(default_factory=dict, repr=False)  # may hold its key; the edge is not told
    retries: int = 1
    concurrency: int = 64


@dataclass(frozen=True, slots=True)
class AnswerCache:
    """Answers of detection that are given again for `ttl` seconds; 0: never."""

    ttl: float = 300.0


@dataclass(frozen=True, slots=True)
class Reviews:
    """Texts that wait for a person, `keep` seconds, `most` of a tenant. `text` is keep, mask or drop (once decided)."""

    keep: float = 90 * 86400.0
    text: str = "keep"
    most: int = 10_000


@dataclass(frozen=True, slots=True)
class Detection:
    """Who judges texts: `engines` in order of preference, else the embedded detector.

    `on_engine_timeout` is flag, embedded, allow or block.
    """

    engines: tuple[Engine, ...] = ()
    on_engine_timeout: str = "flag"
    cache: AnswerCache = AnswerCache()
    reviews: Reviews = Reviews()


@dataclass(frozen=True, slots=True)
class Role:
    """A role and the permissions that it grants."""

    name: str
    permissions: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Issuer:
    """Whose tokens are accepted beside our own. Keys: `secret` (shared), `jwks` (URL) or `discovery` (OIDC, URL)."""

    name: str
    issuer: str = ""
    audience: str = ""
    algorithms: tuple[str, ...] = ()
    secret: str = ""
    jwks: str = ""
    discovery: str = ""
    leeway: float = 30.0
    roles: tuple[str, ...] = ("user",)  # granted to everyone whom it vouches for
    roles_claim: str = ""  # a claim, dots between levels, that names further roles
    tenant: str = "default"
    tenant_claim: str = ""


@dataclass(frozen=True, slots=True)
class CertificateRule:
    """Whom a verified client certificate stands for; it must match all of `san`, `subject`, `fingerprint` given."""

    principal: str
    san: str = ""
    subject: str = ""
    fingerprint: str = ""
    roles: tuple[str, ...] = ()
    tenant: str = "default"


@dataclass(frozen=True, slots=True)
class Tokens:
    """Tokens of our own: `algorithm` EdDSA or HS256, lifetimes in seconds."""

    issuer: str = "portico"
    algorithm: str = "EdDSA"
    access: float = 3600.0
    refresh: float = 30 * 86400.0
    accept: tuple[Issuer, ...] = ()


@dataclass(frozen=True, slots=True)
class Identity:
    """Who may call: roles (the built-in ones too), issuers of tokens, certificates, and how keys come into being."""

    registration: str = "closed"  # closed | token | open
    stale_for: float = 60.0  # seconds that what is known of callers is believed while the services are away
    tokens: Tokens = Tokens()
    roles: tuple[Role, ...] = ()
    certificates: tuple[CertificateRule, ...] = ()


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
