"""Usage from the socket to the database: exact over workers, and nothing lost when all goes in order."""

from __future__ import annotations

import hashlib
import os
import signal
import socket
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from tests.chaos.load import Load
from tests.e2e.api import PASSWORD, Api
from tests.integration.counted import Counted, spool_of

from portico.runtime import control
from portico.testing import FakeUpstream, GatewayHarness, Reader, wait_for

KEYS = {"ada": "key-of-ada-0123456789", "bob": "key-of-bob-0123456789"}


def config(upstream: FakeUpstream, workers: int = 1, **more: Any) -> dict[str, Any]:
    return {
        "server": {"workers": workers, "listen": [{"host": "127.0.0.1", "port": 0, "metrics": True}]},
        "keys": [{"id": name, "sha256": hashlib.sha256(key.encode()).hexdigest()} for name, key in KEYS.items()],
        "upstreams": {"users": {"targets": [upstream.url]}},
        "routes": [
            {"name": "users", "paths": ["/users/*"], "upstream": "users"},
            {"name": "kept", "paths": ["/kept/*"], "upstream": "users", "auth": ["api_key", "jwt"]},
        ],
        **more,
    }


def send(gateway: GatewayHarness, count: int, connections: int = 8) -> None:
    """So many requests, 64 at a time on each connection."""

    def some(number: int) -> int:
        done = 0
        with gateway.connect(30) as sock:
            reader = Reader(sock)
            while done < number:
                batch = min(64, number - done)
                sock.sendall(b"GET /users/1 HTTP/1.1\r\nHost: x\r\n\r\n" * batch)
                for _ in range(batch):
                    assert reader.answer().status == 200
                done += batch
        return done

    share, rest = divmod(count, connections)
    with ThreadPoolExecutor(connections) as pool:
        assert sum(pool.map(some, [share + (index < rest) for index in range(connections)])) == count


@pytest.mark.parametrize("count", [3000, pytest.param(100_000, marks=[pytest.mark.long, pytest.mark.timeout(600)])])
def test_sums_over_two_workers_are_exact_and_outlive_a_reload_a_restart_and_a_stop(count: int) -> None:
    with FakeUpstream() as upstream, GatewayHarness(config(upstream, workers=2)) as gateway:
        send(gateway, count)
        seen = [each["requests"] for each in gateway.status()["processes"] if each["role"] == "edge"]
        assert min(seen) > 0, "both workers had some"
        found = Counted(gateway.data_dir)
        found.until(count, patience=60)
        with Load(gateway, kept=2, fresh=1) as load:
            load.more(30)
            gateway.reload()
            load.more(30)
            control.ask(gateway.data_dir, "restart", timeout=60)
            load.more(30)
        assert load.failed() == []
        send(gateway, 7, connections=1)
        assert gateway.stop() == 0
        assert found.requests() == count + load.count + 7
        assert spool_of(gateway.data_dir) == []
        buckets = " + ".join(f"bucket_{number}" for number in range(14))
        ((requests, observed),) = found.rows(f"SELECT sum(requests), sum({buckets}) FROM usage_minutes")
        assert requests == observed, "every request is in one bucket"


def test_a_request_is_in_the_database_within_three_seconds_and_each_caller_apart() -> None:
    with FakeUpstream() as upstream, GatewayHarness(config(upstream)) as gateway:
        api = Api(gateway)
        found = Counted(gateway.data_dir)
        took = []
        for number in range(1, 4):
            assert gateway.request("GET", "/users/1").status == 200
            took.append(found.until(number))
        assert min(took) < 3.0, took
        person = api.person()
        login = {"email": person["email"], "password": PASSWORD}
        token = api.good("POST", "/api/v1/auth/login", None, login)["access_token"]
        issued = api.good("POST", "/api/v1/admin/keys", api.admin, {"name": "theirs"})
        for who in (KEYS["ada"], KEYS["ada"], KEYS["bob"], token, issued["key"]):
            assert gateway.request("POST", "/kept/1?q=hidden", {"Authorization": f"Bearer {who}"}, "body").status == 200
        refused = gateway.request("GET", "/kept/pk_wrong", {"X-API-Key": "pk_nobodys"})
        assert refused.status == 401
        found.until(6, "kept")
        assert {key: count for key, count in found.sums().items() if key[4] == "kept"} == {
            ("key", "ada", "ada", "default", "kept", "POST", 200): 2,
            ("key", "bob", "bob", "default", "kept", "POST", 200): 1,
            ("key", issued["id"], issued["id"], "default", "kept", "POST", 200): 1,
            ("person", "", person["id"], "default", "kept", "POST", 200): 1,
            ("anonymous", "", "", "", "kept", "GET", 401): 1,
        }
        assert api.good("GET", "/api/v1/admin/usage/ada", api.admin)["totals"]["requests"] == 2
        paths = {row[0] for row in found.rows("SELECT path FROM requests_recent WHERE route = 'kept'")}
        assert paths == {"/kept/1", "/kept/[redacted]"}


def test_services_that_are_away_lose_nothing_not_even_when_the_master_key_is_replaced_meanwhile() -> None:
    with FakeUpstream() as upstream, GatewayHarness(config(upstream)) as gateway:
        send(gateway, 10, connections=1)
        found = Counted(gateway.data_dir)
        found.until(10)
        services = next(each["pid"] for each in gateway.status()["processes"] if each["role"] == "services")
        os.kill(services, signal.SIGSTOP)
        send(gateway, 50, connections=1)
        wait_for(lambda: metric(gateway, "portico_spool_age_seconds") > 2)
        assert metric(gateway, "portico_spool_bytes") > 500
        send(gateway, 50, connections=1)
        gateway.signal(signal.SIGTERM)
        wait_for(lambda: "edge 0 has stopped" in gateway.output(), 10)
        os.kill(services, signal.SIGKILL)
        assert gateway.stop() == 0
        texts = b"".join(path.read_bytes() for path in spool_of(gateway.data_dir))
        assert len(texts) > 1000
        for secret in (b"users", b"GET", b"127.0.0.1", *(key.encode() for key in KEYS.values())):
            assert secret not in texts
        assert found.requests() == 10
        done = gateway.cli("vault", "rekey", "-c", str(gateway.config_path), "--data-dir", str(gateway.data_dir))
        assert done.returncode == 0, done.stderr
        gateway.start()
        send(gateway, 5, connections=1)
        found.until(115)
        wait_for(lambda: metric(gateway, "portico_spool_age_seconds") < 2)
        assert len(found.rows("SELECT id FROM spool_keys")) == 2


def metric(gateway: GatewayHarness, name: str) -> float:
    port = int(gateway.status()["listeners"][1].rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port), 5) as sock:
        sock.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        text = Reader(sock).answer().body.decode()
    return next(float(line.split()[1]) for line in text.splitlines() if line.startswith(name + " "))
