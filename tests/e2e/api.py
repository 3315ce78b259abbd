"""A gateway's own interface as its clients use it: JSON in, status and JSON out; and who calls."""

from __future__ import annotations

import contextlib
import ipaddress
import json
import secrets
import time
from collections.abc import Callable, Iterator
from typing import Any

from tests.services import postgres

from portico.testing.client import Answer
from portico.testing.harness import GatewayHarness

PASSWORD = "correct horse battery"
BEHIND_PROXY = {"trusted_proxies": ["127.0.0.1"]}  # so that each test comes from an address of its own


class Api:
    """Calls to one gateway; `who` is a key (pk_…), a token, or None. `address`: the client's, told as a proxy does."""

    def __init__(self, gateway: GatewayHarness, address: str = "") -> None:
        self.gateway = gateway
        self.address = address
        self.kept: dict[str, str] = {}  # credentials that tests share
        self.admin = (gateway.data_dir / "gateway_token").read_text().strip()

    def send(
        self, method: str, path: str, who: str | None = None, body: Any = None, headers: dict[str, str] | None = None
    ) -> Answer:
        """The whole answer."""
        fields = dict(headers or {})
        if self.address:
            fields["X-Forwarded-For"] = self.address
        if who is not None:
            fields["Authorization"] = f"Bearer {who}"
        data = None
        if body is not None:
            data = body if isinstance(body, bytes) else json.dumps(body).encode()
            fields.setdefault("Content-Type", "application/json")
        return self.gateway.request(method, path, fields, data)

    def call(self, method: str, path: str, who: str | None = None, body: Any = None) -> tuple[int, Any]:
        """Status and JSON of the answer; None for an empty one."""
        answer = self.send(method, path, who, body)
        return answer.status, answer.json() if answer.body else None

    def good(self, method: str, path: str, who: str | None = None, body: Any = None) -> Any:
        """The JSON of an answer that must be 2xx."""
        status, found = self.call(method, path, who, body)
        assert 200 <= status < 300, (method, path, status, found)
        return found

    def person(self, roles: tuple[str, ...] = ("user",), tenant: str | None = None) -> dict[str, Any]:
        """A new person with PASSWORD; the answer, and `password`."""
        body: dict[str, Any] = {"email": f"p{secrets.token_hex(6)}@example.com", "password": PASSWORD}
        body["roles"] = list(roles)
        if tenant is not None:
            body["tenant"] = tenant
        made: dict[str, Any] = self.good("POST", "/api/v1/admin/users", self.admin, body)
        return made

    def login(self, email: str, password: str = PASSWORD) -> dict[str, Any]:
        """The tokens of a new session."""
        body = {"email": email, "password": password}
        found: dict[str, Any] = self.good("POST", "/api/v1/auth/login", None, body)
        return found

    def token(self, roles: tuple[str, ...] = ("user",), tenant: str | None = None) -> str:
        """An access token of a new person with these roles."""
        return str(self.login(self.person(roles, tenant)["email"])["access_token"])

    def key(self, *permissions: str, tenant: str | None = None, **more: Any) -> dict[str, Any]:
        """A new key of no limits, with `key`."""
        body = {"name": "a key", "permissions": list(permissions), "rate_limit_per_minute": 0, **more}
        if tenant is not None:
            body["tenant"] = tenant
        made: dict[str, Any] = self.good("POST", "/api/v1/admin/keys", self.admin, body)
        return made


@contextlib.contextmanager
def running(kind: str = "sqlite", config: dict[str, Any] | None = None) -> Iterator[Api]:
    """A gateway on a new database of the kind `sqlite` or `postgresql`."""
    with contextlib.ExitStack() as stack:
        settings = {"server": BEHIND_PROXY, **(config or {})}
        if kind == "postgresql":
            settings["storage"] = {"url": stack.enter_context(postgres())}
        gateway = stack.enter_context(GatewayHarness(settings, wait=kind == "sqlite"))
        if kind == "postgresql":
            gateway.stop()
            upgraded = gateway.cli("db", "upgrade", "-c", str(gateway.config_path), "--data-dir", str(gateway.data_dir))
            assert upgraded.returncode == 0, upgraded.stdout + upgraded.stderr
            gateway.wait = True
            gateway.start()
        yield Api(gateway)


def somewhere() -> str:
    """An address that no other test comes from."""
    return str(ipaddress.IPv4Address(0x0A000000 + secrets.randbelow(1 << 24)))


def within(seconds: float, condition: Callable[[], bool]) -> float:
    """Seconds until `condition` was true; it must be within `seconds`."""
    began = time.monotonic()
    while not condition():
        assert time.monotonic() - began < seconds, f"not within {seconds} s"
        time.sleep(0.01)
    return time.monotonic() - began
