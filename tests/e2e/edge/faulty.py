"""One gateway in front of many small upstreams, for tests of what happens when their targets fail."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from typing import Any, Final

from portico.testing import FakeUpstream, GatewayHarness
from portico.testing.upstream import Connection, Request, response, wait_for

SECRET: Final = "pk_reader_of_metrics_0123456789"


class World:
    """The gateway, and each upstream's targets by its name; route `/NAME/*` leads to upstream NAME."""

    def __init__(self, gateway: GatewayHarness, targets: dict[str, list[FakeUpstream]]) -> None:
        self.gateway = gateway
        self.targets = targets

    def states(self, name: str) -> list[dict[str, Any]]:
        """What `portico status --json` shows of an upstream's targets, in their order."""
        return next(entry["targets"] for entry in upstreams_of(self.gateway) if entry["name"] == name)

    def standing(self, name: str) -> list[str]:
        """The states of an upstream's targets."""
        return [target["state"] for target in self.states(name)]

    def wait_standing(self, name: str, *states: str) -> None:
        """Return when the targets' states are these."""
        wait_for(lambda: self.standing(name) == list(states))

    def outcomes(self, name: str) -> dict[str, int]:
        """What is counted of an upstream."""
        text = self.gateway.request("GET", "/metrics", {"X-API-Key": SECRET}).body.decode()
        found = re.findall(r"^portico_upstream_requests_total\{(.*)\} (\d+)", text, re.MULTILINE)
        pairs = [(dict(re.findall(r'(\w+)="([^"]*)"', labels)), int(float(count))) for labels, count in found]
        return {labels["outcome"]: count for labels, count in pairs if labels["upstream"] == name}


def upstreams_of(gateway: GatewayHarness) -> list[dict[str, Any]]:
    """The upstreams as the (only) edge process shows them."""
    (edge,) = [process for process in gateway.status()["processes"] if process["role"] == "edge"]
    return list(edge["upstreams"])


def config_of(specs: Mapping[str, Mapping[str, Any]], urls: Mapping[str, list[str]]) -> dict[str, Any]:
    """The configuration with these upstreams, and for each a route."""
    return {
        "keys": [{"id": "r", "sha256": hashlib.sha256(SECRET.encode()).hexdigest(), "permissions": ["metrics:read"]}],
        "upstreams": {name: {"targets": urls[name], **spec} for name, spec in specs.items()},
        "routes": [{"name": name, "paths": [f"/{name}/*"], "upstream": name} for name in specs],
    }


@contextmanager
def world(specs: Mapping[str, tuple[int, Mapping[str, Any]]], mode: bool) -> Iterator[World]:
    """A running World; `specs` says of each upstream how many targets it has, and its settings."""
    with ExitStack() as stack:
        targets = {
            name: [stack.enter_context(FakeUpstream()) for _ in range(count)] for name, (count, _) in specs.items()
        }
        urls = {name: [fake.url for fake in fakes] for name, fakes in targets.items()}
        config = config_of({name: spec for name, (_, spec) in specs.items()}, urls)
        yield World(stack.enter_context(GatewayHarness(config, compiled=mode)), targets)


def dies(request: Request, connection: Connection) -> None:
    """Reads the request and breaks the connection off."""
    connection.reset()


def silent(request: Request, connection: Connection) -> None:
    """Never answers."""


def says(status: int, body: bytes = b"") -> Callable[[Request, Connection], bytes]:
    """Answers with this status."""
    return lambda request, connection: response(status, body, reason="Said")
