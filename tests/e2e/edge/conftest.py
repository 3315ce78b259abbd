"""Edge tests drive a real gateway over real sockets, once with interpreted and once with compiled modules."""

from __future__ import annotations

import shutil
from collections.abc import Iterator

import pytest

from portico.kernel import compiled
from portico.testing import FakeUpstream, GatewayHarness
from portico.testing.upstream import echo

from .pki import Authority, Pair

# Where there is a compiler, a stale or missing build is an error of the setup, not a reason to test less. Tests inside
# one process run both ways each time, most other gateways interpreted: here that is left to the long tests.
LONG = pytest.param("interpreted", marks=pytest.mark.long)
MODES = [LONG, "compiled"] if compiled.status("auto")[0] or shutil.which("cc") else ["interpreted"]


@pytest.fixture(scope="module", params=MODES)
def mode(request: pytest.FixtureRequest) -> bool:
    """Whether the edge runs compiled."""
    return bool(request.param == "compiled")


@pytest.fixture(scope="module")
def shared_upstream() -> Iterator[FakeUpstream]:
    with FakeUpstream() as upstream:
        yield upstream


@pytest.fixture
def upstream(shared_upstream: FakeUpstream) -> Iterator[FakeUpstream]:
    """The module's upstream with nothing recorded yet and the echo handler, which it has again afterwards."""
    shared_upstream.requests.clear()
    shared_upstream.handler = echo
    yield shared_upstream
    shared_upstream.handler = echo


@pytest.fixture(scope="module")
def gateway(mode: bool, shared_upstream: FakeUpstream) -> Iterator[GatewayHarness]:
    """One gateway whose route `/` leads to the module's upstream."""
    config = {
        "upstreams": {"up": {"targets": [shared_upstream.url], "timeouts": {"first_byte": "2s", "idle": "2s"}}},
        "routes": [
            {"name": "stripped", "paths": ["/strip/*"], "upstream": "up", "strip_prefix": "/strip"},
            {"name": "renamed", "paths": ["/renamed"], "upstream": "up", "preserve_host": False},
            {"name": "only-get", "paths": ["/only-get"], "methods": ["GET", "PUT"], "upstream": "up"},
            {"name": "small", "paths": ["/small"], "upstream": "up", "body_bytes": "1KiB"},
            {"name": "whole", "paths": ["/whole"], "upstream": "up", "buffer": True, "body_bytes": "256KiB"},
            {"name": "no-websocket", "paths": ["/no-websocket"], "upstream": "up", "websocket": False},
            {"name": "all", "paths": ["/*"], "upstream": "up"},
        ],
    }
    with GatewayHarness(config, compiled=mode) as gateway:
        yield gateway


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """The certificate authority that a module's clients and upstreams believe."""
    return Authority(tmp_path_factory.mktemp("pki"))


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """An authority that nobody believes unless a test says so."""
    return Authority(tmp_path_factory.mktemp("stranger"), "somebody else")


@pytest.fixture(scope="module")
def pair(authority: Authority) -> Pair:
    """A certificate for a.example and 127.0.0.1, and its key."""
    return authority.issue("a", "DNS:a.example", "IP:127.0.0.1")
