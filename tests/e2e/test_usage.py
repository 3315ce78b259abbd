"""What was counted, asked over HTTP: each tenant its own, in sums that are exact."""

from __future__ import annotations

import csv
import io
import re
import secrets
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import yaml
from tests.e2e.api import Api, running
from tests.unit.storage.kit import Store

from portico.storage.usage import rollup

DAY = 86400
Take = Callable[..., None]


@pytest.fixture(scope="module", params=["sqlite", pytest.param("postgresql", marks=pytest.mark.long)])
def served(request: pytest.FixtureRequest) -> Iterator[Api]:
    """A gateway whose edges count nothing, so that there is what these tests put there and no more."""
    with running(request.param, {"plugins": {"usage": {"enabled": False}}}) as found:
        yield found


@pytest.fixture
def take(api: Api) -> Any:
    """Puts rows into the gateway's own database, as what its edges count is put there."""
    config = yaml.safe_load(api.gateway.config_path.read_text())
    url = config.get("storage", {}).get("url", "sqlite:///portico.db")
    with Store(url, api.gateway.data_dir, migrated=True) as store:

        def rows(usage: list[list[Any]], recent: list[list[Any]] | None = None) -> None:
            async def work() -> None:
                async with store.db.write() as session:
                    await rollup.take(session, [{"kind": "usage", "rows": usage}])
                    await rollup.take_recent(session, [{"kind": "recent", "rows": recent or []}])

            store.run(work())

        yield rows


def row(
    at: float, key: str, tenant: str, status: int = 200, requests: int = 1, route: str = "orders", kind: str = "key"
) -> list[Any]:
    """Requests of 50 to 100 ms each."""
    buckets = [0] * 14
    buckets[6] = requests
    minute = int(at) - int(at) % 60
    key_id = key if kind == "key" else ""
    return [
        minute, key_id, key, kind, tenant, route, "GET", status, requests, 10 * requests, 100 * requests, buckets,
        0.06 * requests,
    ]  # fmt: skip


def tenant_of(api: Api) -> tuple[str, str, str]:
    """A new tenant, the id of a key of it, and a key that may read its usage."""
    tenant = f"t-{secrets.token_hex(4)}"
    return tenant, api.key(tenant=tenant)["id"], api.key("usage:read", "stats:read", tenant=tenant)["key"]


def rfc3339(at: float) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(at))


def test_the_usage_of_a_key_is_told_step_by_step(api: Api, take: Take) -> None:
    tenant, key, reader = tenant_of(api)
    now = time.time()
    take([row(now - 3600 * hours, key, tenant, requests=hours + 1) for hours in range(5)])
    take([row(now - 3600, key, tenant, status=500), row(now - 3600, key, tenant, status=404, route="other")])
    found = api.good("GET", f"/admin/usage/{key}", reader)
    assert (found["key_id"], found["step"]) == (key, "hour")
    totals = found["totals"]
    assert (totals["requests"], totals["errors"], totals["client_errors"], totals["server_errors"]) == (17, 2, 1, 1)
    assert (totals["bytes_in"], totals["bytes_out"], totals["mean"]) == (170, 1700, 60.0)
    assert 50 < totals["p50"] <= totals["p95"] <= totals["p99"] <= 100
    assert [point["requests"] for point in found["series"]][-5:] == [5, 4, 3, 4, 1]
    assert len(found["series"]) == 25
    assert found["series"][0]["requests"] == 0
    assert found["series"][0]["p50"] is None
    assert found["series"][0]["at"] == found["from"]
    for step in ("minute", "hour", "day"):
        stepped = api.good("GET", f"/admin/usage/{key}?step={step}&from={rfc3339(now - 5 * 3600)}", reader)
        assert sum(point["requests"] for point in stepped["series"]) == stepped["totals"]["requests"] == 17


def test_a_key_that_was_never_used_has_zeros(api: Api) -> None:
    _, key, reader = tenant_of(api)
    assert api.good("GET", f"/admin/usage/{key}", reader)["totals"]["requests"] == 0


def test_stats_tell_a_tenant_s_day_at_a_glance(api: Api, take: Take) -> None:
    tenant, key, reader = tenant_of(api)
    now = time.time()
    take([
        row(now, key, tenant, requests=90), row(now, key, tenant, status=429, requests=6),
        row(now, key, tenant, status=401, requests=3, route="other"), row(now, "ann", tenant, kind="person"),
    ])  # fmt: skip
    found = api.good("GET", "/admin/stats", reader)
    assert found["tenant"] == tenant
    assert found["totals"]["requests"] == 100
    assert found["error_rate"] == 0.09
    assert found["refusals"] == {"401": 3, "403": 0, "429": 6}
    assert found["keys"] == {"total": 2, "new": 2, "active": 1}
    assert found["people"] == {"total": 0, "active": 1}
    assert [(each["key_id"], each["requests"], each["errors"]) for each in found["top_keys"]] == [(key, 99, 9)]
    assert [(each["route"], each["requests"]) for each in found["top_routes"]] == [("orders", 97), ("other", 3)]
    assert found["series"] is None
    assert found["now"] is None
    series = api.good("GET", "/admin/stats?step=hour", reader)["series"]
    assert [point["requests"] for point in series][-1] == 100


def test_who_sees_all_tenants_sees_them_together_and_the_gateway_now(api: Api, take: Take) -> None:
    before = api.good("GET", "/admin/stats", api.admin)["totals"]["requests"]
    one, other = tenant_of(api), tenant_of(api)
    take([row(time.time(), one[1], one[0], requests=1000), row(time.time(), other[1], other[0], requests=2000)])
    found = api.good("GET", "/admin/stats", api.admin)
    assert found["tenant"] is None
    assert found["totals"]["requests"] >= before + 3000
    assert found["now"]["uptime"] > 0
    assert found["now"]["in_flight"] >= 1  # this very request
    alone = api.good("GET", f"/admin/stats?tenant={one[0]}", api.admin)
    assert (alone["tenant"], alone["totals"]["requests"]) == (one[0], 1000)


def test_callers_come_by_what_they_had_most_of_in_pages(api: Api, take: Take) -> None:
    tenant, _, reader = tenant_of(api)
    names = [f"k{index:03}" for index in range(30)]
    take([row(time.time(), name, tenant, requests=index + 1) for index, name in enumerate(names)])
    seen: list[str] = []
    after = ""
    while True:
        page = api.good("GET", f"/api/v1/admin/usage?limit=12{after}", reader)
        assert page["count"] == 30
        seen += [each["key_id"] for each in page["items"]]
        if page["next_cursor"] is None:
            break
        after = f"&after={page['next_cursor']}"
    assert seen == names[::-1]


def test_two_tenants_see_nothing_of_each_other(api: Api, take: Take) -> None:
    sides = tenant_of(api), tenant_of(api)
    for tenant, key, _ in sides:
        recent = [time.time(), f"request-{tenant}", key, key, "key", tenant, "orders", "GET", f"/of/{tenant}", 200, ""]
        take([row(time.time(), key, tenant)], [[*recent, 1.0, 1, 2, "192.0.2.1"]])
    for mine, theirs in (sides, sides[::-1]):
        for path in ("/admin/stats", "/api/v1/admin/usage", "/api/v1/admin/requests"):
            text = api.send("GET", path, mine[2]).body.decode()
            assert mine[1] in text
            assert theirs[0] not in text
            assert theirs[1] not in text
            assert api.call("GET", f"{path}?tenant={theirs[0]}", mine[2])[1]["code"] == "other_tenant"
        hidden, nothing = (api.call("GET", f"/admin/usage/{name}", mine[2]) for name in (theirs[1], "nobody"))
        assert hidden[0] == nothing[0] == 404
        assert hidden[1]["detail"] == nothing[1]["detail"]
        assert api.good("GET", f"/api/v1/admin/requests?key={theirs[1]}", mine[2])["items"] == []


def test_recent_requests_are_found_by_key_route_and_status(api: Api, take: Take) -> None:
    tenant, key, reader = tenant_of(api)
    answered = [("orders", 201, ""), ("orders", 429, "rate_limited"), ("other", 404, ""), ("orders", 503, "")]
    recent = [
        [time.time(), f"id-{number}", key, key, "key", tenant, route, "POST", "/x", *rest, 12.5, 10, 20, "192.0.2.1"]
        for number, (route, *rest) in enumerate(answered)
    ]
    take([], recent)
    for asked, expected in (
        ("", ["id-3", "id-2", "id-1", "id-0"]),
        ("?route=orders", ["id-3", "id-1", "id-0"]),
        ("?status=4xx", ["id-2", "id-1"]),
        ("?status=404", ["id-2"]),
        (f"?key={key}&route=other", ["id-2"]),
    ):
        found = api.good("GET", f"/api/v1/admin/requests{asked}", reader)["items"]
        assert [each["request_id"] for each in found] == expected
    one = api.good("GET", "/api/v1/admin/requests?limit=1", reader)
    assert one["items"][0]["latency"] == 12.5
    following = api.good("GET", f"/api/v1/admin/requests?after={one['next_cursor']}", reader)["items"]
    assert [each["request_id"] for each in following] == ["id-2", "id-1", "id-0"]


def test_everything_comes_as_csv_too(api: Api, take: Take) -> None:
    tenant, key, reader = tenant_of(api)
    evil = '=cmd|"/c calc"!A1'
    recent = [time.time(), "id", key, key, "key", tenant, evil, "GET", "/a,b", 200, "", 1.0, 1, 2, "192.0.2.1"]
    take([row(time.time(), key, tenant, requests=7), row(time.time(), evil, tenant)], [recent])
    for path, column, expected in (
        (f"/admin/usage/{key}", "requests", "7"),
        ("/admin/stats", "requests", "8"),
        ("/api/v1/admin/usage", "key_id", key),
        ("/api/v1/admin/requests", "path", "/a,b"),
    ):
        for target, accept in ((path, "text/csv"), (f"{path}?format=csv", "*/*")):
            answer = api.send("GET", target, reader, headers={"Accept": accept})
            assert answer.status == 200
            assert (answer.header("Content-Type") or "").startswith("text/csv")
            text = answer.body.decode()
            assert text.endswith("\r\n")
            found = list(csv.DictReader(io.StringIO(text, newline=""), strict=True))
            assert expected in [each[column] for each in found]
            assert all(not cell.startswith(("=", "@")) for each in found for cell in each.values())
    assert "'=cmd" in api.send("GET", "/api/v1/admin/usage?format=csv", reader).body.decode()


def test_a_long_csv_is_whole(api: Api, take: Take) -> None:
    tenant, _, reader = tenant_of(api)
    take([row(time.time(), f"key-{index}", tenant) for index in range(2500)])
    lines = api.send("GET", "/api/v1/admin/usage?format=csv", reader).body.decode().splitlines()
    assert len(lines) == 2501
    assert len({line.split(",")[0] for line in lines[1:]}) == 2500


@pytest.mark.parametrize(
    ("query", "code"),
    [
        ("from=yesterday", "invalid_request"), ("from=2026-02-30T00:00:00Z", "invalid_request"),
        ("from=1700000000", "invalid_request"), ("from=2026-01-01T00:00:00", "invalid_request"),
        ("from=2026-01-01T00:00:00+01:00", "invalid_request"), ("step=week", "invalid_request"),
        ("step=minute&from=2020-01-01T00:00:00Z", "range_not_kept"),
        ("from=2026-01-02T00:00:00Z&to=2026-01-01T00:00:00Z", "range_backwards"),
    ],
)  # fmt: skip
def test_ranges_that_make_no_sense_are_refused(api: Api, query: str, code: str) -> None:
    _, key, reader = tenant_of(api)
    for path in (f"/admin/usage/{key}", "/admin/stats"):
        status, problem = api.call("GET", f"{path}?{query}", reader)
        assert (status, problem["code"]) == (422, code)


def test_a_series_that_is_too_long_is_refused_with_the_step_that_fits(api: Api) -> None:
    _, key, reader = tenant_of(api)
    status, problem = api.call("GET", f"/admin/usage/{key}?step=minute&from={rfc3339(time.time() - 2 * DAY)}", reader)
    assert (status, problem["code"]) == (422, "too_many_points")
    assert "step=hour" in problem["hint"]


def test_times_may_have_an_offset(api: Api, take: Take) -> None:
    tenant, key, reader = tenant_of(api)
    take([row(time.time(), key, tenant)])
    local = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(time.time() + 5400 - 600))
    found = api.good("GET", f"/admin/usage/{key}?step=minute&from={quote(local + '+01:30')}", reader)
    assert found["totals"]["requests"] == 1
    assert len(found["series"]) in (11, 12)


def test_the_permissions_are_asked_for(api: Api) -> None:
    tenant = f"t-{secrets.token_hex(4)}"
    stats, usage = (api.key(each, tenant=tenant)["key"] for each in ("stats:read", "usage:read"))
    asked = (("/admin/stats", stats, usage), ("/admin/usage", usage, stats), ("/api/v1/admin/requests", usage, stats))
    for path, good, bad in asked:
        assert api.call("GET", path, good)[0] == 200
        assert api.call("GET", path, bad)[1]["code"] == "permission_missing"


def test_a_profile_tells_the_caller_s_own_usage(api: Api, take: Take) -> None:
    tenant = f"t-{secrets.token_hex(4)}"
    key, other = api.key(tenant=tenant), api.key(tenant=tenant)
    before = api.good("GET", "/api/v1/auth/profile", key["key"])["usage"]
    now = time.time()
    take([row(now, key["id"], tenant, requests=1000), row(now, key["id"], tenant, status=500, requests=100)])
    take([row(now, other["id"], tenant, requests=10_000), row(now - 2 * DAY, key["id"], tenant, requests=10_000)])
    after = api.good("GET", "/api/v1/auth/profile", key["key"])["usage"]
    assert before["requests_today"] < 100
    assert 1100 <= after["requests_today"] < 1200
    assert 100 <= after["errors_today"] < 150
    assert after["requests_this_minute"] in range(1100, 1200) or time.time() // 60 != now // 60


def test_what_the_page_asks_is_answered(api: Api, take: Take) -> None:
    page = (Path(__file__).parents[2] / "docs/how-to/usage.md").read_text()
    targets = re.findall(r"http://127\.0\.0\.1:8771(/[^\s']+)", page)
    assert len(targets) >= 5
    take([row(time.time(), "01890000-0000-7000-8000-000000000000", "default")])
    for target in targets:
        now_in_range = target.replace("2026-01-01T00:00:00Z", rfc3339(time.time() - 30 * DAY))
        assert api.send("GET", now_in_range, api.admin).status == 200, target
