"""Jobs and deliveries of webhooks are parts of the trace of the request that made them; receivers are told of it."""

from __future__ import annotations

import secrets
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import pytest
import yaml
from tests.collector import Collector, Seen
from tests.e2e.api import Api, within
from tests.e2e.receiver import receiving

from portico.testing import FakeUpstream, GatewayHarness, wait_for

PARENT = "00f067aa0ba902b7"
SOON = 30.0
TASKS = "/api/v1/scheduler/tasks"


@pytest.fixture(scope="module")
def collector() -> Iterator[Collector]:
    with Collector() as collector:
        yield collector


@pytest.fixture(scope="module")
def api(collector: Collector) -> Iterator[Api]:
    config = {
        "outbound": {"allow": ["127.0.0.1/32"]},
        "tracing": {"endpoint": collector.url, "sample": 0, "trust": True},
    }
    with GatewayHarness(config) as gateway:
        yield Api(gateway)


def traced(api: Api, method: str, path: str, who: str, body: Any = None) -> tuple[Any, str]:
    """The JSON of an answer, and the id of its trace."""
    trace_id = secrets.token_hex(16)
    answer = api.send(method, path, who, body, {"traceparent": f"00-{trace_id}-{PARENT}-01"})
    assert 200 <= answer.status < 300, answer.body
    return answer.json(), trace_id


def named(collector: Collector, trace_id: str, name: str) -> list[Seen]:
    return [span for span in collector.trace(trace_id) if span.name == name]


def task(api: Api, port: int) -> str:
    """The path that runs a job which calls this port."""
    target = {"url": f"http://127.0.0.1:{port}/"}
    body = {"name": secrets.token_hex(4), "kind": "http.call", "cron": "0 0 29 2 *", "payload": target}
    return f"{TASKS}/{api.good('POST', TASKS, api.admin, body)['id']}/run"


def test_a_job_is_a_part_of_the_request_that_enqueued_it(api: Api, collector: Collector) -> None:
    with FakeUpstream() as upstream:
        run = task(api, upstream.port)
        made, trace_id = traced(api, "POST", run, api.admin)
        wait_for(
            lambda: named(collector, trace_id, "POST schedule") and named(collector, trace_id, "job http.call"), SOON
        )
        untraced = api.good("POST", run, api.admin)["job"]
        job_of = f"/api/v1/admin/jobs/{untraced}"
        within(SOON, lambda: api.good("GET", job_of, api.admin)["state"] == "succeeded")
        (job,) = named(collector, trace_id, "job http.call")
        (call,) = named(collector, trace_id, "POST schedule")
        handler = next(each for each in collector.trace(trace_id) if each.id == job.parent)
        assert (handler.service, handler.kind, job.kind) == ("portico-services", "server", "consumer")
        assert (job.attributes["portico.job"], job.attributes["portico.attempt"]) == (made["job"], 1)
        assert (call.parent, call.kind) == (job.id, "client")
        assert not job.failed
        told = {name.lower() for request in upstream.requests for name, _ in request.headers}
        assert "traceparent" not in told, "strangers are told nothing"
        assert len([span for span in collector.spans if span.name == "job http.call"]) == 1, "the other is not traced"


def test_a_delivery_tells_its_receiver_of_the_trace(api: Api, collector: Collector) -> None:
    key = api.key()["key"]
    with receiving() as receiver:
        hook = api.good("POST", "/webhooks/register", key, {"url": receiver.url})
        first, tested = traced(api, "POST", "/webhooks/test", key, {"id": hook["id"]})
        assert receiver.wait(1)[0].headers["traceparent"].split("-")[1] == tested, "within the request"
        _, replayed = traced(api, "POST", f"/webhooks/deliveries/{first['delivery_id']}/replay", key)
        got = receiver.wait(2, SOON)[1]
        got.verified(hook["secret"])
        version, trace_id, parent, flags = got.headers["traceparent"].split("-")
        assert (version, trace_id, flags) == ("00", replayed, "01")
        wait_for(
            lambda: named(collector, replayed, "deliver test") and named(collector, replayed, "POST webhook"), SOON
        )
        (delivery,) = named(collector, replayed, "deliver test")
        (call,) = named(collector, replayed, "POST webhook")
        assert (delivery.id, delivery.kind, call.parent) == (parent, "producer", delivery.id)

        api.good("POST", f"/webhooks/deliveries/{first['delivery_id']}/replay", key)
        assert "traceparent" not in receiver.wait(3, SOON)[2].headers, "no other request's trace"


@pytest.mark.long
def test_a_worker_of_its_own_exports_what_it_does(api: Api, collector: Collector) -> None:
    command = [sys.executable, "-m", "portico", "up", "--role", "worker", "-c", str(api.gateway.config_path)]
    assert yaml.safe_load(api.gateway.config_path.read_text())["tracing"]["endpoint"] == collector.url
    process = subprocess.Popen([*command, "--data-dir", str(api.gateway.data_dir)])
    instance = f"worker-{process.pid}"
    try:
        with FakeUpstream() as upstream:
            run = task(api, upstream.port)

            def seen() -> bool:
                for _ in range(20):
                    traced(api, "POST", run, api.admin)
                return any(
                    span.name == "job http.call" and span.instance.endswith(instance) for span in collector.spans
                )

            within(60.0, seen)
    finally:
        process.terminate()
        assert process.wait(30.0) == 0
