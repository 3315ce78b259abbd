"""Each path that changes something leaves one record; refusals leave theirs; tampering is named; two tenants."""

from __future__ import annotations

import contextlib
import json
import secrets
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from tests.e2e import doubts
from tests.e2e.api import PASSWORD, Api, running, somewhere, within
from tests.e2e.receiver import receiving, status

AUDIT = "/api/v1/admin/audit"
JOBS = "/api/v1/admin/jobs"
TASKS = "/api/v1/scheduler/tasks"
HOOKS = "/api/v1/webhooks"
REVIEWS = "/api/v1/detect/reviews"
CLOSED = "http://127.0.0.1:9/"  # where nothing listens
Do = Callable[[Api], tuple[str, str]]  # does it; the id of what it was done on, and of whoever did it


def register(api: Api) -> tuple[str, str]:
    invitation = api.good("POST", "/api/v1/admin/invitations", api.admin, {})
    key = api.good("POST", "/api/v1/auth/register", None, {"name": "mine", "invitation": invitation["token"]})
    return key["id"], ""


def logged_in(api: Api) -> tuple[dict[str, Any], dict[str, Any]]:
    person = api.person()
    return person, api.login(person["email"])


def login(api: Api) -> tuple[str, str]:
    person, session = logged_in(api)
    return session["session_id"], person["id"]


def refresh(api: Api) -> tuple[str, str]:
    person, session = logged_in(api)
    api.good("POST", "/api/v1/auth/refresh", None, {"refresh_token": session["refresh_token"]})
    return session["session_id"], person["id"]


def logout(api: Api) -> tuple[str, str]:
    person, session = logged_in(api)
    api.good("POST", "/api/v1/auth/logout", session["access_token"])
    return session["session_id"], person["id"]


def end_session(api: Api) -> tuple[str, str]:
    person, session = logged_in(api)
    api.good("DELETE", f"/api/v1/auth/sessions/{session['session_id']}", session["access_token"])
    return session["session_id"], person["id"]


def change_profile(api: Api) -> tuple[str, str]:
    person, session = logged_in(api)
    body = {"name": "another", "password": f"{PASSWORD}!", "current_password": PASSWORD}
    api.good("PATCH", "/api/v1/auth/profile", session["access_token"], body)
    return person["id"], person["id"]


def rotate_own(api: Api) -> tuple[str, str]:
    old = api.key()
    return api.good("POST", "/api/v1/auth/rotate-key", old["key"], {})["id"], old["id"]


def revoke_own(api: Api) -> tuple[str, str]:
    key = api.key()
    api.good("DELETE", "/api/v1/auth/revoke", key["key"])
    return key["id"], key["id"]


def rotate(api: Api) -> tuple[str, str]:
    return api.good("POST", f"/api/v1/admin/keys/{api.key()['id']}/rotate", api.admin, {})["id"], admin(api)


def revoke(api: Api) -> tuple[str, str]:
    key = api.key()
    api.good("DELETE", f"/api/v1/admin/keys/{key['id']}", api.admin)
    return key["id"], admin(api)


def change_person(api: Api) -> tuple[str, str]:
    person = api.person()
    body = {"roles": ["viewer"], "disabled": True, "password": f"{PASSWORD}!", "name": "x"}
    api.good("PATCH", f"/api/v1/admin/users/{person['id']}", api.admin, body)
    return person["id"], admin(api)


def invite(api: Api) -> tuple[str, str]:
    return api.good("POST", "/api/v1/admin/invitations", api.admin, {})["id"], admin(api)


def task(api: Api) -> str:
    body = {"name": secrets.token_hex(4), "kind": "http.call", "payload": {"url": CLOSED}, "cron": "0 0 1 1 *"}
    made: str = api.good("POST", TASKS, api.admin, body)["id"]
    return made


def job(api: Api) -> str:
    made: str = api.good("POST", f"{TASKS}/{task(api)}/run", api.admin)["job"]
    return made


def run_task(api: Api) -> tuple[str, str]:
    made = task(api)
    api.good("POST", f"{TASKS}/{made}/run", api.admin)
    return made, admin(api)


def change_task(api: Api) -> tuple[str, str]:
    made = task(api)
    api.good("PATCH", f"{TASKS}/{made}", api.admin, {"paused": True})
    return made, admin(api)


def delete_task(api: Api) -> tuple[str, str]:
    made = task(api)
    api.good("DELETE", f"{TASKS}/{made}", api.admin)
    return made, admin(api)


def cancel_job(api: Api) -> tuple[str, str]:
    made = job(api)
    api.good("POST", f"{JOBS}/{made}/cancel", api.admin)
    return made, admin(api)


def retry_job(api: Api) -> tuple[str, str]:
    made, who = cancel_job(api)
    within(20, lambda: api.good("GET", f"{JOBS}/{made}", api.admin)["state"] in ("failed", "cancelled"))
    api.good("POST", f"{JOBS}/{made}/retry", api.admin)
    return made, who


def webhook(api: Api) -> str:
    made: str = api.good("POST", f"{HOOKS}/register", api.admin, {"url": CLOSED})["id"]
    return made


def try_webhook(api: Api) -> tuple[str, str]:
    made = webhook(api)
    api.good("POST", f"{HOOKS}/test", api.admin, {"id": made})
    return made, admin(api)


def replay(api: Api) -> tuple[str, str]:
    delivery: str = api.good("POST", f"{HOOKS}/test", api.admin, {"id": webhook(api)})["delivery_id"]
    api.good("POST", f"{HOOKS}/deliveries/{delivery}/replay", api.admin)
    return delivery, admin(api)


def remove_webhook(api: Api) -> tuple[str, str]:
    made = webhook(api)
    api.good("DELETE", f"{HOOKS}/{made}", api.admin)
    return made, admin(api)


def enable_webhook(api: Api) -> tuple[str, str]:
    with receiving(status(410)) as gone:
        made: str = api.good("POST", f"{HOOKS}/register", api.admin, {"url": gone.url})["id"]
        delivery = api.good("POST", f"{HOOKS}/test", api.admin, {"id": made})["delivery_id"]
        api.good("POST", f"{HOOKS}/deliveries/{delivery}/replay", api.admin)

        def disabled() -> bool:
            items = api.good("GET", f"{HOOKS}/list?limit=200", api.admin)["items"]
            return any(each["id"] == made and not each["is_active"] for each in items)

        within(20, disabled)
    api.good("POST", f"{HOOKS}/{made}/enable", api.admin)
    return made, admin(api)


def rotate_webhook(api: Api) -> tuple[str, str]:
    made = webhook(api)
    api.good("POST", f"{HOOKS}/{made}/rotate-secret", api.admin, {})
    return made, admin(api)


def rotate_default(api: Api) -> tuple[str, str]:
    key = api.key()
    api.good("POST", f"{HOOKS}/default-secret", key["key"], {})
    return f"key:{key['id']}", key["id"]


def decide(api: Api) -> tuple[str, str]:
    made = doubts.put(api, secrets.token_hex(8))[0]
    api.good("POST", f"{REVIEWS}/{made}/decide", api.admin, {"decision": "benign"})
    return made, admin(api)


def cancel_detection(api: Api) -> tuple[str, str]:
    made: str = api.good("POST", "/v1/detect/async", api.admin, {"text": "a"})["job_id"]
    api.good("DELETE", f"/v1/detect/jobs/{made}", api.admin)
    return made, admin(api)


def admin(api: Api) -> str:
    """The id of the administrator's key."""
    if "admin" not in api.kept:
        api.kept["admin"] = api.good("GET", "/api/v1/auth/profile", api.admin)["id"]
    return api.kept["admin"]


# Path → what it is recorded as, and how to do it.
EXPECTED: dict[tuple[str, str], tuple[str, Do]] = {
    ("post", "/api/v1/auth/register"): ("keys.register", register),
    ("post", "/api/v1/auth/login"): ("sessions.begin", login),
    ("post", "/api/v1/auth/refresh"): ("sessions.refresh", refresh),
    ("post", "/api/v1/auth/logout"): ("sessions.end", logout),
    ("delete", "/api/v1/auth/sessions/{id}"): ("sessions.end", end_session),
    ("patch", "/api/v1/auth/profile"): ("people.change", change_profile),
    ("post", "/api/v1/auth/rotate-key"): ("keys.rotate", rotate_own),
    ("delete", "/api/v1/auth/revoke"): ("keys.revoke", revoke_own),
    ("post", "/api/v1/admin/keys"): ("keys.create", lambda api: (api.key()["id"], admin(api))),
    ("post", "/api/v1/admin/keys/{id}/rotate"): ("keys.rotate", rotate),
    ("delete", "/api/v1/admin/keys/{id}"): ("keys.revoke", revoke),
    ("post", "/api/v1/admin/users"): ("people.create", lambda api: (api.person()["id"], admin(api))),
    ("patch", "/api/v1/admin/users/{id}"): ("people.change", change_person),
    ("post", "/api/v1/admin/invitations"): ("invitations.create", invite),
    ("post", f"{JOBS}/{{id}}/cancel"): ("jobs.cancel", cancel_job),
    ("post", f"{JOBS}/{{id}}/retry"): ("jobs.retry", retry_job),
    ("post", f"{REVIEWS}/{{id}}/decide"): ("reviews.decide", decide),
    ("post", TASKS): ("schedules.create", lambda api: (task(api), admin(api))),
    ("patch", f"{TASKS}/{{id}}"): ("schedules.change", change_task),
    ("delete", f"{TASKS}/{{id}}"): ("schedules.delete", delete_task),
    ("post", f"{TASKS}/{{id}}/run"): ("schedules.run", run_task),
    ("post", f"{HOOKS}/register"): ("webhooks.register", lambda api: (webhook(api), admin(api))),
    ("post", f"{HOOKS}/test"): ("webhooks.test", try_webhook),
    ("delete", f"{HOOKS}/{{id}}"): ("webhooks.remove", remove_webhook),
    ("post", f"{HOOKS}/{{id}}/enable"): ("webhooks.enable", enable_webhook),
    ("post", f"{HOOKS}/{{id}}/rotate-secret"): ("webhooks.rotate", rotate_webhook),
    ("post", f"{HOOKS}/default-secret"): ("webhooks.rotate_default", rotate_default),
    ("post", f"{HOOKS}/deliveries/{{id}}/replay"): ("webhooks.replay", replay),
    ("delete", "/api/v1/detect/jobs/{id}"): ("jobs.cancel", cancel_detection),
}


@pytest.fixture(scope="module", params=["sqlite", pytest.param("postgresql", marks=pytest.mark.long)])
def audited(request: pytest.FixtureRequest) -> Iterator[Api]:
    """A gateway at which people register with invitations."""
    settings = {"registration": "token", "outbound": {"allow": ["127.0.0.1/32"]}}
    with running(request.param, settings) as found:
        yield found


@pytest.fixture
def api(audited: Api) -> Api:
    mine = Api(audited.gateway, somewhere())
    mine.kept = audited.kept
    return mine


def records(api: Api, who: str | None = None, **filters: str) -> list[dict[str, Any]]:
    query = "&".join(f"{name}={value}" for name, value in {"limit": "200", **filters}.items())
    found: list[dict[str, Any]] = api.good("GET", f"{AUDIT}?{query}", who or api.admin)["items"]
    return found


def test_every_path_that_may_change_something_is_known_to_this_test(api: Api) -> None:
    paths = api.good("GET", "/openapi.json")["paths"]
    # What asks for verdicts is counted as usage, and changes nothing of anybody's.
    answering = {("post", f"/api/v1/detect{path}") for path in ("", "/batch", "/async")}
    changing = {(method, path) for path, item in paths.items() for method in item if method not in ("get", "head")}
    assert changing - answering == set(EXPECTED), "say in EXPECTED what a new path is recorded as"


@pytest.mark.parametrize("path", EXPECTED, ids=" ".join)
def test_every_path_that_changes_something_leaves_exactly_one_record(api: Api, path: tuple[str, str]) -> None:
    action, do = EXPECTED[path]
    thing, who = do(api)
    mine = [each for each in records(api, object=thing) if each["action"] == action]
    assert len(mine) == 1
    record = mine[0]
    assert record["source"] == api.address
    assert record["result"] == "ok"
    assert record["actor"]["id"] == who
    # Nothing else was recorded of the same request.
    assert records(api, request_id=record["request_id"]) == [record]
    assert PASSWORD not in json.dumps(records(api))


def test_refusals_are_recorded_with_who_and_why(api: Api) -> None:
    person = api.person()
    body = {"email": person["email"], "password": "not the password"}
    assert api.call("POST", "/api/v1/auth/login", None, body)[0] == 401
    key = api.key("keys:write")
    nothing = "01890000-0000-7000-8000-000000000000"
    assert api.call("DELETE", f"/api/v1/admin/keys/{nothing}", key["key"])[0] == 404
    assert api.call("POST", "/api/v1/admin/keys", key["key"], {"name": "x", "permissions": ["*"]})[0] == 403

    def mine() -> dict[str, dict[str, Any]]:
        return {each["code"]: each for each in records(api, result="refused") if each["source"] == api.address}

    within(5, lambda: set(mine()) >= {"credentials_wrong", "not_found", "more_than_own"})
    found = mine()
    assert found["credentials_wrong"]["actor"] == {"kind": "anonymous", "id": ""}
    assert found["credentials_wrong"]["detail"]["person"] == person["id"]
    assert found["credentials_wrong"]["tenant"] == "default"
    for code in ("not_found", "more_than_own"):
        assert found[code]["actor"] == {"kind": "key", "id": key["id"]}
    assert found["not_found"]["object"] == {"kind": "route", "id": "DELETE /api/v1/admin/keys/{id}"}
    assert found["not_found"]["detail"]["path"] == f"/api/v1/admin/keys/{nothing}"


def test_two_tenants_see_their_own(api: Api) -> None:
    one, other = (f"{name}-{secrets.token_hex(4)}" for name in "ab")
    tokens = {tenant: api.token(("operator",), tenant) for tenant in (one, other)}
    for tenant, foreign in ((one, other), (other, one)):
        seen = records(api, tokens[tenant])
        assert seen
        assert {each["tenant"] for each in seen} == {tenant}
        assert records(api, tokens[tenant], tenant=tenant) == seen
        assert api.call("GET", f"{AUDIT}?tenant={foreign}", tokens[tenant])[0] == 403
    assert {each["tenant"] for each in records(api, tenant=one)} == {one}
    assert api.call("GET", AUDIT, api.token(("user",)))[0] == 403
    assert api.call("GET", AUDIT)[0] == 401


def test_filters_that_can_t_be_are_refused(api: Api) -> None:
    for query in ("from=yesterday", "to=9999-12-31T23:59:59-23:59", "result=maybe", "after=x", "action=%00"):
        assert api.call("GET", f"{AUDIT}?{query}", api.admin)[0] == 422, query
    assert records(api, **{"from": "2999-01-01T00:00:00Z"}) == []
    assert records(api, to="2001-01-01") == []
    assert len(records(api, **{"from": "2001-01-01T00:00:00Z", "limit": "1"})) == 1


def cli(api: Api, *arguments: str) -> Any:
    gateway = api.gateway
    where = ["-c", str(gateway.config_path), "--data-dir", str(gateway.data_dir)]
    return gateway.cli("audit", *arguments, *where)


def test_the_command_line_lists_exports_and_verifies_beside_the_running_gateway(api: Api) -> None:
    key = api.key()
    out = api.gateway.data_dir / f"{secrets.token_hex(4)}.jsonl"
    listed = json.loads(cli(api, "list", "--json", "--object", key["id"], "--since", "1h").stdout)
    assert [each["action"] for each in listed["items"]] == ["keys.create"]
    assert cli(api, "verify").returncode == 0
    assert cli(api, "export", "--out", str(out)).returncode == 0
    assert cli(api, "verify", str(out)).returncode == 0
    assert out.stat().st_mode & 0o777 == 0o600
    assert "audit.export" in cli(api, "list", "--limit", "5").stdout
    altered = out.read_text().replace(key["id"], admin(api))
    out.write_text(altered)
    found = cli(api, "verify", "--json", str(out))
    assert found.returncode == 1
    assert json.loads(found.stdout)["findings"][0]["what"] == "altered"


def test_restarts_keep_it_whole_and_heads_are_published(tmp_path: Any) -> None:
    with running() as api:
        key = api.key()
        api.gateway.stop()
        heads = (api.gateway.data_dir / "audit" / "heads.jsonl").read_text().splitlines()
        assert len(heads) == 1
        assert (api.gateway.data_dir / "audit" / "heads.jsonl").stat().st_mode & 0o777 == 0o600
        assert "head of the audit chain" in api.gateway.output()
        report = json.loads(cli(api, "verify", "--json").stdout)
        assert report["ok"]
        assert report["heads"] == 1
        api.gateway.start()
        api.good("DELETE", f"/api/v1/admin/keys/{key['id']}", api.admin)
        api.gateway.stop()
        report = json.loads(cli(api, "verify", "--json").stdout)
        assert report["ok"]
        assert report["writers"] == 2
        tampered(api)


def tampered(api: Api) -> None:
    """A record is deleted in the file, by somebody who has the vault's key to it but knows nothing of chains."""
    from portico.storage import sqlite
    from portico.storage.vault import Vault

    data_dir = api.gateway.data_dir
    connect = sqlite.connector(data_dir / "portico.db", Vault.open(data_dir, None).key("database"))
    with contextlib.closing(connect()) as connection:
        writer, sequence = connection.execute(
            "SELECT writer, sequence FROM audit WHERE action = 'keys.revoke'"
        ).fetchone()
        connection.execute("DELETE FROM audit WHERE action = 'keys.revoke'")
    found = cli(api, "verify", "--json")
    assert found.returncode == 1
    first = json.loads(found.stdout)["findings"][0]
    assert (first["writer"], first["sequence"]) == (writer, sequence)


def test_a_reload_is_recorded_once_and_a_refused_one_is_not() -> None:
    with running(config={"server": {"services": {"processes": 2}}, "registration": "closed"}) as api:
        api.gateway.rewrite({"server": {"services": {"processes": 2}}, "registration": "open"})
        api.gateway.reload()
        within(5, lambda: bool(records(api, action="config")))
        assert [each["action"] for each in records(api, action="config")] == ["config.reload"]
        assert cli(api, "verify").returncode == 0
