"""Several edge workers: what is revoked is refused by each of them, within a second of the answer that revoked it."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from typing import Any

import pytest
from tests.e2e.api import BEHIND_PROXY, Api, somewhere, within

from portico.testing import FakeUpstream, GatewayHarness
from portico.testing.client import Reader, request_bytes

WORKERS = 3
CONNECTIONS = 24


class Workers:
    """A gateway with several edge workers, and kept connections of which each worker has some."""

    def __init__(self, gateway: GatewayHarness, stack: ExitStack) -> None:
        self.api = Api(gateway, somewhere())
        self.socks: list[socket.socket] = []
        within(20.0, lambda: self._spread(stack))  # a worker that nobody asks proves nothing

    def _spread(self, stack: ExitStack) -> bool:
        """Open more connections; whether each worker has some. One may have been late to its start."""
        self.socks += [stack.enter_context(self.api.gateway.connect()) for _ in range(CONNECTIONS)]
        assert set(self.codes("pk_nobodys")) == {"credentials_unknown"}
        edges = [each for each in self.api.gateway.status()["processes"] if each["role"] == "edge"]
        return len(edges) == WORKERS and all(each["connections"] > 0 for each in edges)

    def codes(self, who: str) -> list[str]:
        """What each connection is answered now: "" when it is let through, else the refusal's code."""
        fields = {"Authorization": f"Bearer {who}", "X-Forwarded-For": somewhere(), "Connection": "keep-alive"}
        head = request_bytes("GET", "/keyed/x", "gate", fields)
        for sock in self.socks:
            sock.sendall(head)
        answers = [Reader(sock).answer() for sock in self.socks]
        return ["" if each.status == 200 else str(each.json()["code"]) for each in answers]

    def refused(self, who: str, code: str, revoke: Callable[[], Any]) -> None:
        """Every worker knows `who`; after `revoke` has answered, each refuses within a second, and goes on doing so."""
        assert set(self.codes(who)) == {""}
        revoke()
        answered = time.monotonic()
        within(1.0, lambda: set(self.codes(who)) == {code})
        while time.monotonic() < answered + 1.5:  # over several beats: no worker takes it up again
            assert set(self.codes(who)) == {code}
            time.sleep(0.05)


@pytest.fixture(scope="module")
def workers(shared_upstream: FakeUpstream) -> Iterator[Workers]:
    config = {
        "server": {**BEHIND_PROXY, "workers": WORKERS},
        "upstreams": {"up": {"targets": [shared_upstream.url]}},
        "routes": [{"name": "keyed", "paths": ["/keyed/*"], "upstream": "up", "auth": ["api_key", "jwt"]}],
    }
    with GatewayHarness(config) as gateway, ExitStack() as stack:
        yield Workers(gateway, stack)


def test_a_revoked_key(workers: Workers) -> None:
    api = workers.api
    made = api.key()
    path = f"/api/v1/admin/keys/{made['id']}"
    workers.refused(made["key"], "credentials_unknown", lambda: api.good("DELETE", path, api.admin))


def test_a_rotated_key(workers: Workers) -> None:
    api = workers.api
    old = api.key()
    made: list[str] = []

    def rotate() -> None:
        made.append(api.good("POST", "/auth/rotate-key", old["key"])["key"])

    workers.refused(old["key"], "credentials_unknown", rotate)
    assert workers.codes(made[0]) == [""] * len(workers.socks)


def test_a_key_that_the_command_line_revokes(workers: Workers) -> None:
    api = workers.api
    made = api.key()

    def revoke() -> None:
        done = api.gateway.cli("keys", "revoke", made["id"], "--data-dir", str(api.gateway.data_dir))
        assert done.returncode == 0, done.stdout + done.stderr

    workers.refused(made["key"], "credentials_unknown", revoke)


def test_a_session_that_has_ended(workers: Workers) -> None:
    api = workers.api
    token = api.token()
    workers.refused(token, "token_revoked", lambda: api.good("POST", "/api/v1/auth/logout", token))


def test_a_disabled_person_s_token_and_key(workers: Workers) -> None:
    api = workers.api
    person = api.person()
    token, key = api.login(person["email"])["access_token"], api.key(owner=person["id"])["key"]
    assert workers.codes(key) == [""] * len(workers.socks)
    path = f"/api/v1/admin/users/{person['id']}"
    workers.refused(token, "token_revoked", lambda: api.good("PATCH", path, api.admin, {"disabled": True}))
    assert set(workers.codes(key)) == {"credentials_unknown"}
    api.good("PATCH", path, api.admin, {"disabled": False})
    within(1.0, lambda: workers.codes(key) == [""] * len(workers.socks))
    assert set(workers.codes(token)) == {"token_revoked"}  # what was made before stays void
