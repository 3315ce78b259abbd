"""The plain values by which rooms meet: the snapshot that the edge runs on, mounts, and phases.

Nothing here validates: `portico.config` does, once, in the supervisor. All durations are seconds, all sizes bytes.
"""

from __future__ import annotations

from portico.contracts.detection import AnswerCache, Detection, Engine, Reviews
from portico.contracts.identity import CertificateRule, Identity, Issuer, Role, Tokens
from portico.contracts.phases import ADMIT, AUTHENTICATE, AUTHORIZE, CACHE, IDENTIFY, LIMIT, PHASES, TRANSFORM, VALIDATE
from portico.contracts.routes import COST, HEALTH, METRICS, SERVICES, Key, Mount, Policy, Route
from portico.contracts.server import KeyPair, Limits, Listen, Server, Tls
from portico.contracts.services import Audit, Backups, Jobs, Outbound, Queue, State, Storage, Tracing, Usage
from portico.contracts.snapshot import Boot, PluginSpec, Snapshot, dump, load
from portico.contracts.upstreams import Breaker, HealthCheck, Pool, Retries, Target, Timeouts, Upstream, UpstreamTls

__all__ = [
    "ADMIT",
    "AUTHENTICATE",
    "AUTHORIZE",
    "CACHE",
    "COST",
    "HEALTH",
    "IDENTIFY",
    "LIMIT",
    "METRICS",
    "PHASES",
    "SERVICES",
    "TRANSFORM",
    "VALIDATE",
    "AnswerCache",
    "Audit",
    "Backups",
    "Boot",
    "Breaker",
    "CertificateRule",
    "Detection",
    "Engine",
    "HealthCheck",
    "Identity",
    "Issuer",
    "Jobs",
    "Key",
    "KeyPair",
    "Limits",
    "Listen",
    "Mount",
    "Outbound",
    "PluginSpec",
    "Policy",
    "Pool",
    "Queue",
    "Retries",
    "Reviews",
    "Role",
    "Route",
    "Server",
    "Snapshot",
    "State",
    "Storage",
    "Target",
    "Timeouts",
    "Tls",
    "Tokens",
    "Tracing",
    "Upstream",
    "UpstreamTls",
    "Usage",
    "dump",
    "load",
]
