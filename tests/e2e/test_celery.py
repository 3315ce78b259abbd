"""Jobs of a gateway run by `portico jobs celery`, over a broker with a password."""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import pytest
import redis
from tests.e2e.api import Api, running, within
from tests.rabbit import PrivateRabbit, private_rabbit
from tests.services import PrivateRedis, private_redis

from portico.testing import FakeUpstream
from portico.testing.upstream import Connection, Request, echo

PASSWORD = f"hunter{secrets.token_hex(8)}"


class Redis:
    """A Redis with a password, which a test may kill."""

    def __init__(self, server: PrivateRedis) -> None:
        self.server = server
        parts = urlsplit(server.url)
        self.url = urlunsplit(parts._replace(netloc=f":{PASSWORD}@{parts.netloc}"))
        self.lock()

    def lock(self) -> None:
        with contextlib.closing(redis.Redis.from_url(self.server.url)) as client:
            client.config_set("requirepass", PASSWORD)

    def kill(self) -> None:
        self.server.kill()

    def start(self) -> None:
        """Again, and empty."""
        self.server.start()
        self.lock()


Broker = Redis | PrivateRabbit


@pytest.fixture(params=["redis", pytest.param("rabbitmq", marks=pytest.mark.long)])
def broker(request: pytest.FixtureRequest) -> Iterator[Broker]:
    if request.param == "rabbitmq":
        with private_rabbit(PASSWORD) as rabbit:
            yield rabbit
        return
    with private_redis() as server:
        yield Redis(server)


@pytest.fixture
def api(broker: Broker) -> Iterator[Api]:
    jobs = {"executor": "celery", "broker": broker.url, "lease": "3s"}
    with running("sqlite", {"outbound": {"allow": ["127.0.0.1/32"]}, "jobs": jobs}) as found:
        yield found


@pytest.fixture
def receiver() -> Iterator[FakeUpstream]:
    with FakeUpstream() as upstream:
        yield upstream


def where(api: Api) -> tuple[str, ...]:
    return ("-c", str(api.gateway.config_path), "--data-dir", str(api.gateway.data_dir))


@contextlib.contextmanager
def worker(api: Api, log: Path) -> Iterator[subprocess.Popen[bytes]]:
    command = [sys.executable, "-m", "portico", "jobs", "celery", "--concurrency", "4", *where(api)]
    environment = {**os.environ, "CELERY_BROKER_URL": "redis://nowhere.invalid/0"}  # ours wins
    with log.open("ab") as output:
        process = subprocess.Popen(command, env=environment, stdout=output, stderr=output)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def silent(request: Request, connection: Connection) -> None:
    """Never answer."""


def get(api: Api, job: str) -> dict[str, Any]:
    found: dict[str, Any] = api.good("GET", f"/api/v1/admin/jobs/{job}", api.admin)
    return found


def pid(job: dict[str, Any]) -> int:
    return int(job["worker"].split("/")[1])


def runner(api: Api, receiver: FakeUpstream) -> Callable[[], str]:
    """What makes a job that calls `receiver`, and answers its id."""
    target = {"url": f"http://127.0.0.1:{receiver.port}/"}
    body = {"name": "call", "kind": "http.call", "cron": "0 0 29 2 *", "payload": target}
    made = api.good("POST", "/api/v1/scheduler/tasks", api.admin, body)

    def run() -> str:
        return str(api.good("POST", f"/api/v1/scheduler/tasks/{made['id']}/run", api.admin)["job"])

    return run


def test_a_gateway_s_jobs_are_run_by_celery_and_the_broker_s_password_told_to_nobody(
    api: Api, broker: Broker, receiver: FakeUpstream, tmp_path: Path
) -> None:
    run, log = runner(api, receiver), tmp_path / "worker.log"
    first = run()
    refused = api.gateway.cli("up", "--role", "worker", *where(api))
    assert refused.returncode == 1
    assert "portico jobs celery" in refused.stderr
    assert get(api, first)["state"] == "queued", "the services run none"
    with worker(api, log) as process:
        within(30.0, lambda: get(api, first)["state"] == "succeeded")
        assert pid(get(api, first)) == process.pid
        broker.kill()
        run()
        within(20.0, lambda: "jobs wait for the broker" in api.gateway.output())
        within(20.0, lambda: "Trying to reconnect" in log.read_text() or "Trying again" in log.read_text())
        process.send_signal(signal.SIGTERM)
        assert process.wait(20.0) == 0, log.read_text()
    for told in (log.read_text(), api.gateway.output()):
        assert told
        assert PASSWORD not in told


@pytest.mark.long
def test_a_stopped_worker_s_job_and_a_new_broker(
    api: Api, broker: Broker, receiver: FakeUpstream, tmp_path: Path
) -> None:
    wrong = api.gateway.cli("jobs", "celery", "--queues", "default,webhook", *where(api))
    assert wrong.returncode == 1
    assert "there is no queue 'webhook'; there are: default, detection, webhooks" in wrong.stderr
    run, log = runner(api, receiver), tmp_path / "worker.log"
    receiver.handler = silent
    with worker(api, log) as process:
        stopped = run()
        within(30.0, lambda: get(api, stopped)["state"] == "running")
        process.send_signal(signal.SIGTERM)
        assert process.wait(20.0) == 0, log.read_text()
        assert get(api, stopped)["state"] == "queued", "it is given back"
    receiver.handler = echo
    broker.kill()
    broker.start()  # empty
    with worker(api, log) as process:
        within(30.0, lambda: get(api, stopped)["state"] == "succeeded")
        assert get(api, stopped)["attempt"] == 1
