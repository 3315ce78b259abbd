"""A services process with vault, database and `auth`, and the edge's side of /_portico/."""

from __future__ import annotations

import hmac
import http.client
import json
import time
from typing import Any

from tests.unit.services.supervise import KEY, PUBLIC, Services, snapshot

from portico.config.identity import BUILT_IN
from portico.contracts import Identity, PluginSpec, Role

PLUGINS = (
    PUBLIC,
    PluginSpec("storage", "portico.storage.plugin:StoragePlugin"),
    PluginSpec("state", "portico.state.plugin:StatePlugin"),
    PluginSpec("auth", "portico.services.auth.plugin:Auth"),
    PluginSpec("admin", "portico.services.admin.plugin:AdminPlugin"),
)
IDENTITY = Identity(roles=tuple(Role(name, permissions) for name, permissions in BUILT_IN.items()))
PROOF = hmac.digest(KEY, b"portico internal 1", "sha256").hex()


def ask(services: Services, method: str, path: str, body: Any = None, proof: str = PROOF) -> tuple[int, bytes]:
    """One question of the edge: status and body."""
    fields = {"X-Portico-Internal": proof}
    data = None
    if body is not None:
        data = json.dumps(body).encode()
        fields["Content-Type"] = "application/json"
    status, _, answer = services.get(path, method, fields, data)
    return status, answer


class Stream:
    """The stream of changes, read line by line."""

    def __init__(self, services: Services) -> None:
        self.connection = services.connect()
        self.connection.request("GET", "/_portico/changes", headers={"X-Portico-Internal": PROOF})
        self.answer: http.client.HTTPResponse = self.connection.getresponse()

    def line(self) -> dict[str, Any] | None:
        """The next line; None at its proper end."""
        text = self.answer.readline()
        found: dict[str, Any] | None = json.loads(text) if text else None
        return found

    def until(self, kind: str, within: float = 5.0) -> list[dict[str, Any]]:
        """The lines up to the first of this kind, which is the last of them."""
        found: list[dict[str, Any]] = []
        deadline = time.monotonic() + within
        while time.monotonic() < deadline:
            line = self.line()
            assert line is not None, found
            found.append(line)
            if line["type"] == kind:
                return found
        raise AssertionError(f"no {kind} within {within} s: {found}")

    def close(self) -> None:
        self.connection.close()


def started() -> Services:
    """The process, not started yet; as a context manager."""
    return Services(snapshot(plugins=PLUGINS, identity=IDENTITY))
