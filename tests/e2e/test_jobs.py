"""Jobs and schedules through a gateway: the routes, calls by the clock, the command, a killed process, a worker."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.e2e.api import Api, running, within

from portico.jobs import Handlers
from portico.testing import FakeUpstream
from portico.testing.upstream import Connection, Request, echo

PAGE = Path(__file__).parents[2] / "docs" / "how-to" / "jobs.md"
TASKS = "/api/v1/scheduler/tasks"
JOBS = "/api/v1/admin/jobs"
CONFIG = {"outbound": {"allow": ["127.0.0.1/32"]}, "jobs": {"lease": "3s"}}


@pytest.fixture(scope="module", params=["sqlite", pytest.param("postgresql", marks=pytest.mark.long)])
def api(request: pytest.FixtureRequest) -> Iterator[Api]:
    with running(request.param, CONFIG) as found:
        yield found


@pytest.fixture
def receiver() -> Iterator[FakeUpstream]:
    with FakeUpstream() as upstream:
        yield upstream


def silent(request: Request, connection: Connection) -> None:
    """Never answer."""


def task(api: Api, name: str, url: str, **more: Any) -> dict[str, Any]:
    """A schedule of calls to `url`, in a hundred years unless said otherwise."""
    when = {} if "every_seconds" in more else {"cron": "0 0 29 2 *"}
    body = {"name": name, "kind": "http.call", "payload": {"url": url, "body": {"n": 1}}, **when, **more}
    made: dict[str, Any] = api.good("POST", TASKS, api.admin, body)
    return made


def run(api: Api, made: dict[str, Any]) -> str:
    return str(api.good("POST", f"{TASKS}/{made['id']}/run", api.admin)["job"])


def until(api: Api, job: str, state: str) -> dict[str, Any]:
    found: dict[str, Any] = {}

    def there() -> bool:
        found.update(api.good("GET", f"{JOBS}/{job}", api.admin))
        return bool(found["state"] == state)

    within(30.0, there)
    return found


def test_a_schedule_calls_and_its_history_tells(api: Api, receiver: FakeUpstream) -> None:
    made = task(api, "ticking", f"http://127.0.0.1:{receiver.port}/tick", every_seconds=1)
    within(15.0, lambda: len(receiver.requests) >= 2)
    api.good("PATCH", f"{TASKS}/{made['id']}", api.admin, {"paused": True})
    runs = api.good("GET", f"{TASKS}/{made['id']}/runs", api.admin)["items"]
    assert len(runs) >= 2
    done = until(api, runs[-1]["id"], "succeeded")
    assert done["result"]["status"] == 200
    assert done["schedule"] == made["id"]
    sent = receiver.requests[0]
    assert json.loads(sent.body) == {"n": 1}
    keys = [str(each.header("Idempotency-Key")) for each in receiver.requests]
    assert len(set(keys)) == len(keys), "each run once"
    assert {each["id"] for each in runs} >= set(keys)
    api.good("DELETE", f"{TASKS}/{made['id']}", api.admin)
    assert api.call("GET", f"{TASKS}/{made['id']}", api.admin)[0] == 404


def test_filters_cancel_and_retry(api: Api) -> None:
    job = run(api, task(api, "refused", "http://10.255.0.1/"))
    failed = until(api, job, "failed")
    assert failed["error"] == "the address may not be called"
    listed = api.good("GET", f"{JOBS}?state=failed&kind=http.call", api.admin)["items"]
    assert job in [each["id"] for each in listed]
    assert api.call("GET", f"{JOBS}?state=nonsense", api.admin)[0] == 422
    assert api.good("POST", f"{JOBS}/{job}/retry", api.admin)["state"] == "queued"
    until(api, job, "failed")
    assert api.good("POST", f"{JOBS}/{job}/cancel", api.admin)["state"] == "failed", "what has ended stays"
    done = until(api, job, "failed")
    assert done["attempt"] == 1


def test_what_can_t_be_is_refused_with_a_reason(api: Api) -> None:
    good = {"name": "wrong", "kind": "http.call", "payload": {"url": "http://example.com/"}, "cron": "0 0 1 1 *"}
    for change, code in (
        ({"kind": "http.cal"}, "unknown_kind"),
        ({"payload": {"url": "ftp://example.com"}}, "bad_payload"),
        ({"payload": {"url": "http://example.com/", "surprise": 1}}, "bad_payload"),
        ({"payload": {"url": "http://example.com/", "body": "x" * 300_000}}, "payload_too_large"),
        ({"cron": "61 * * * *"}, "invalid_request"),
        ({"every_seconds": 60}, "invalid_request"),
        ({"time_zone": "Europe/Nowhere"}, "invalid_request"),
        ({"missed": "sometimes"}, "invalid_request"),
    ):
        status, problem = api.call("POST", TASKS, api.admin, {**good, **change})
        assert (400 <= status < 500, problem["code"]) == (True, code), (change, problem)
    made = api.good("POST", TASKS, api.admin, good)
    assert api.call("POST", TASKS, api.admin, good)[1]["code"] == "taken"
    assert api.call("PATCH", f"{TASKS}/{made['id']}", api.admin, {"cron": "nonsense x"})[0] == 422


def test_metrics(api: Api, receiver: FakeUpstream) -> None:
    until(api, run(api, task(api, "counted", f"http://127.0.0.1:{receiver.port}/")), "succeeded")
    until(api, run(api, task(api, "uncounted", "http://10.255.0.1/")), "failed")
    wanted = (
        r'portico_job_attempts_total\{kind="http.call",outcome="succeeded"\} [1-9]',
        r'portico_job_attempts_total\{kind="http.call",outcome="failed"\} [1-9]',
        r'portico_job_seconds_count\{kind="http.call"\} [1-9]',
        r'portico_jobs\{queue="",state="failed"\} [1-9]',
        r"portico_jobs_oldest_seconds 0\.0",
    )

    def told() -> bool:
        text = api.send("GET", "/metrics", api.admin).body.decode()
        return all(re.search(each, text) for each in wanted)

    within(30.0, told)


def test_permissions(api: Api) -> None:
    reader = api.key("jobs:read", "schedules:read")["key"]
    for path in (JOBS, TASKS):
        assert api.call("GET", path, reader)[0] == 200
        assert api.call("GET", path)[0] == 401
        assert api.call("GET", path, api.key("keys:read")["key"])[0] == 403
    assert api.call("POST", TASKS, reader, {})[0] == 403


def test_the_command(api: Api) -> None:
    job = run(api, task(api, "commanded", "http://10.255.0.1/"))
    until(api, job, "failed")
    where = ("-c", str(api.gateway.config_path), "--data-dir", str(api.gateway.data_dir))

    def done(*arguments: str) -> str:
        ended = api.gateway.cli("jobs", *arguments, *where)
        assert ended.returncode == 0, ended.stderr
        return ended.stdout

    assert job in done("list", "--state", "failed")
    shown = json.loads(done("show", job, "--json"))
    assert (shown["state"], shown["kind"], shown["attempts"]) == ("failed", "http.call", [])
    assert "the address may not be called" in done("show", job)
    assert f"{job} is queued" in done("retry", job)
    until(api, job, "failed")
    assert f"{job} is failed" in done("cancel", job)
    assert api.gateway.cli("jobs", "show", "nothing", *where).returncode != 0


def test_a_call_in_flight_is_cancelled_within_a_second(api: Api, receiver: FakeUpstream) -> None:
    receiver.handler = silent
    job = run(api, task(api, "stalled", f"http://127.0.0.1:{receiver.port}/"))
    until(api, job, "running")
    api.good("POST", f"{JOBS}/{job}/cancel", api.admin)
    began = time.monotonic()
    until(api, job, "cancelled")
    assert time.monotonic() - began < 3.0


def test_a_killed_services_process_s_job_is_done_by_another(api: Api, receiver: FakeUpstream) -> None:
    receiver.handler = silent
    job = run(api, task(api, "killed", f"http://127.0.0.1:{receiver.port}/"))
    pid = int(until(api, job, "running")["worker"].split("/")[1])
    within(10.0, lambda: len(receiver.requests) == 1)
    os.kill(pid, signal.SIGKILL)
    receiver.handler = echo
    within(20.0, lambda: api.call("GET", f"{JOBS}/{job}", api.admin)[0] == 200)
    done = until(api, job, "succeeded")
    assert done["attempt"] == 2
    assert int(done["worker"].split("/")[1]) != pid
    assert [each["outcome"] for each in done["attempts"]] == ["lost"]


def test_a_worker_runs_jobs_beside_the_gateway(api: Api, receiver: FakeUpstream) -> None:
    made = task(api, "spread", f"http://127.0.0.1:{receiver.port}/")
    command = [sys.executable, "-m", "portico", "up", "--role", "worker", "-c", str(api.gateway.config_path)]
    process = subprocess.Popen([*command, "--data-dir", str(api.gateway.data_dir)], stderr=subprocess.PIPE, text=True)
    seen: set[int] = set()

    def both() -> bool:
        jobs = [run(api, made) for _ in range(30)]
        seen.update(int(until(api, job, "succeeded")["worker"].split("/")[1]) for job in jobs)
        return process.pid in seen

    def told() -> int:
        """The worker's calls, as the gateway's metrics show them."""
        text = api.send("GET", "/metrics", api.admin).body.decode()
        found = re.search(
            r'^portico_worker_job_attempts_total{kind="http.call",outcome="succeeded"} (\S+)$', text, re.M
        )
        return int(float(found[1])) if found else 0

    try:
        within(40.0, both)
        process.terminate()
        assert process.wait(20.0) == 0
        within(40.0, lambda: told() >= 1)
    finally:
        process.kill()
        process.communicate()


def test_schedules_of_a_disabled_person_are_suspended_until_it_is_enabled(api: Api, receiver: FakeUpstream) -> None:
    person = api.person(("admin",))
    token = api.login(person["email"])["access_token"]
    key = api.key("schedules:write", owner=person["id"])["key"]
    made = []
    for who in (token, key):
        target = {"url": f"http://127.0.0.1:{receiver.port}/{len(made)}"}
        body = {
            "name": f"theirs {len(made)}",
            "kind": "http.call",
            "payload": target,
            "every_seconds": 1,
            "missed": "all",
        }
        made.append(api.good("POST", TASKS, who, body)["id"])

    def shown(name: str) -> dict[str, Any]:
        found: dict[str, Any] = api.good("GET", f"{TASKS}/{name}", api.admin)
        return found

    def called() -> list[int]:
        return [sum(each.target == f"/{number}" for each in receiver.requests) for number in range(2)]

    assert [shown(each)["suspended"] for each in made] == [False, False]
    within(20.0, lambda: min(called()) >= 1)
    api.good("PATCH", f"/api/v1/admin/users/{person['id']}", api.admin, {"disabled": True})
    listed = {each["id"]: each for each in api.good("GET", f"{TASKS}?limit=200", api.admin)["items"]}
    assert [(listed[each]["suspended"], listed[each]["paused"]) for each in made] == [(True, False)] * 2
    within(20.0, lambda: all(shown(each)["skipped"] >= 1 for each in made))
    within(20.0, lambda: all(until(api, shown(each)["last_job"], "succeeded") for each in made))
    before, passed = called(), [shown(each)["skipped"] for each in made]
    within(20.0, lambda: all(shown(each)["skipped"] >= was + 2 for each, was in zip(made, passed, strict=True)))
    assert called() == before, "their times pass"
    api.good("PATCH", f"/api/v1/admin/users/{person['id']}", api.admin, {"disabled": False})
    assert [shown(each)["suspended"] for each in made] == [False, False]
    within(20.0, lambda: all(now > was for now, was in zip(called(), before, strict=True)))
    for each in made:
        api.good("DELETE", f"{TASKS}/{each}", api.admin)


def test_the_page_s_schedule_and_handler_are_taken(api: Api) -> None:
    text = PAGE.read_text()
    body = re.search(r"-d '(\{.*?\})'\n", text, re.DOTALL)
    assert body is not None
    made = api.good("POST", TASKS, api.admin, json.loads(body[1]))
    assert (made["cron"], made["time_zone"], made["missed"]) == ("30 2 * * *", "Europe/Berlin", "once")
    source = re.search(r"```python\n(.*?)```", text, re.DOTALL)
    assert source is not None
    names: dict[str, Any] = {}
    exec(compile(source[1], str(PAGE), "exec"), names)
    handlers = Handlers()
    handlers.add([names["HANDLER"]], "page")
    assert handlers.queue("letters.send") == "letters"
