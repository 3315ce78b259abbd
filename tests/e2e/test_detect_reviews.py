"""Texts for people to judge, over the network: from an engine's silence to a line that can be trained with."""

from __future__ import annotations

import json
import secrets
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.e2e import doubts
from tests.e2e.api import Api, running, within
from tests.e2e.engine import Engine, configured, telling

from portico.testing import GatewayHarness
from portico.testing.upstream import Connection, Request

REVIEWS = "/api/v1/detect/reviews"
PATHS = (REVIEWS, "/v1/detect/reviews")
LISTED = {
    "id", "state", "text_start", "characters", "why", "engine", "confidence_threshold", "confidence", "tenant",
    "asked_by", "request_id", "times", "created_at", "last_at", "decision", "threat_types", "note", "decided_by",
    "decided_at",
}  # fmt: skip
LINE = {
    "text", "label", "threat_types", "source", "id", "why", "engine", "confidence", "note", "times", "created_at",
    "decided_at",
}  # fmt: skip


@pytest.fixture(scope="module")
def served() -> Iterator[Api]:
    with running() as api:
        yield api


@pytest.fixture
def api(served: Api) -> Api:
    return served


@pytest.fixture
def tenant() -> str:
    return f"t-{secrets.token_hex(4)}"


def reviewer(api: Api, tenant: str) -> str:
    return str(api.key("reviews:*", tenant=tenant)["key"])


def listed(api: Api, who: str, query: str = "", path: str = REVIEWS) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = api.good("GET", f"{path}{query}", who)["items"]
    return found


def exported(api: Api, who: str, query: str = "", path: str = REVIEWS) -> list[dict[str, Any]]:
    answer = api.send("GET", f"{path}/export{query}", who)
    assert answer.status == 200, answer.body
    assert (answer.header("Content-Type") or "").startswith("application/x-ndjson")
    assert answer.header("Cache-Control") == "no-store"
    return [json.loads(line) for line in answer.body.decode().splitlines()]


@pytest.mark.parametrize("path", PATHS)
def test_a_text_is_listed_read_decided_and_exported(api: Api, tenant: str, path: str) -> None:
    who = reviewer(api, tenant)
    long = "x" * 300
    (name,) = doubts.put(api, long, tenant=tenant)
    (found,) = listed(api, who, "?state=waiting", path)
    assert set(found) == LISTED
    assert (found["id"], found["state"], found["text_start"], found["characters"]) == (name, "waiting", "x" * 200, 300)
    assert (found["why"], found["engine"], found["confidence"], found["confidence_threshold"]) == (
        "engine_timeout", "main", 0.5, 0.6,
    )  # fmt: skip
    assert (found["decision"], found["decided_by"], found["asked_by"]) == (None, None, "key:somebody")
    assert api.good("GET", f"{path}/{name}", who) == {**found, "text": long}
    assert exported(api, who, path=path) == []
    body = {"decision": "malicious", "note": "it says so", "threat_types": ["injection", "jailbreak", "injection"]}
    made = api.good("POST", f"{path}/{name}/decide", who, body)
    assert (made["state"], made["decision"], made["note"], made["threat_types"]) == (
        "decided", "malicious", "it says so", ["injection", "jailbreak"],
    )  # fmt: skip
    assert made["decided_by"].startswith("key:")
    assert listed(api, who, "?state=waiting", path) == []
    assert listed(api, who, "?state=decided&decision=malicious&why=engine_timeout", path)[0]["id"] == name
    assert listed(api, who, "?decision=benign", path) == []
    (line,) = exported(api, who, path=path)
    assert set(line) == LINE
    assert (line["text"], line["label"], line["threat_types"], line["source"]) == (
        long, 1, ["injection", "jailbreak"], "review",
    )  # fmt: skip


def test_only_those_who_may_see_and_decide(api: Api, tenant: str) -> None:
    (name,) = doubts.put(api, "a text", tenant=tenant)
    decide = (f"{REVIEWS}/{name}/decide", {"decision": "benign"})
    reader = str(api.key("reviews:read", tenant=tenant)["key"])
    user, reviewing = api.token(("user",), tenant), api.token(("reviewer",), tenant)
    for path in (REVIEWS, f"{REVIEWS}/export", f"{REVIEWS}/{name}"):
        assert api.call("GET", path)[0] == 401
        assert api.call("GET", path, user)[1]["code"] == "permission_missing"
        for who in (reader, reviewing, api.admin):
            assert api.send("GET", path, who).status == 200
    assert api.call("POST", decide[0], None, decide[1])[0] == 401
    for who in (reader, user):
        assert api.call("POST", decide[0], who, decide[1])[1]["code"] == "permission_missing"
    made = api.good("POST", decide[0], reviewing, decide[1])
    assert made["decided_by"].startswith("person:")


def test_two_tenants_never_see_each_other_s_texts(api: Api) -> None:
    tenants = [f"{name}-{secrets.token_hex(4)}" for name in "ab"]
    keys = {each: reviewer(api, each) for each in tenants}
    ids = {each: doubts.put(api, "the same text", f"of {each}", tenant=each) for each in tenants}
    for mine, theirs in (tenants, tenants[::-1]):
        who = keys[mine]
        assert [each["id"] for each in listed(api, who)] == ids[mine]
        assert [each["id"] for each in exported(api, who, "?state=all")] == ids[mine]
        for name in ids[theirs]:
            assert api.call("GET", f"{REVIEWS}/{name}", who)[0] == 404
            assert api.call("POST", f"{REVIEWS}/{name}/decide", who, {"decision": "benign"})[0] == 404
            assert theirs not in json.dumps(listed(api, who, f"?after={name}"))
        for path in (REVIEWS, f"{REVIEWS}/export"):
            assert api.call("GET", f"{path}?tenant={theirs}", who)[1]["code"] == "other_tenant"
    # Whoever may act for all tenants names one.
    assert [each["id"] for each in listed(api, api.admin, f"?tenant={tenants[0]}")] == ids[tenants[0]]
    assert [each["id"] for each in exported(api, api.admin, f"?tenant={tenants[1]}&state=waiting")] == ids[tenants[1]]
    assert {each["state"] for each in listed(api, keys[tenants[0]])} == {"waiting"}


def test_who_decides_otherwise_is_told_who_was_before(api: Api, tenant: str) -> None:
    one, two = (reviewer(api, tenant) for _ in range(2))
    (name,) = doubts.put(api, "a text", tenant=tenant)
    path = f"{REVIEWS}/{name}/decide"
    first = api.good("POST", path, one, {"decision": "malicious", "note": "mine"})
    assert api.good("POST", path, one, {"decision": "malicious", "note": "mine"}) == first
    assert api.good("POST", path, two, {"decision": "malicious", "note": "too"}) == first
    status, problem = api.call("POST", path, two, {"decision": "benign"})
    assert (status, problem["code"]) == (409, "already_decided")
    assert problem["detail"] == f"{first['decided_by']} has decided that it is malicious, at {first['decided_at']}"
    assert api.good("GET", f"{REVIEWS}/{name}", one) == first
    corrected = api.good("POST", path, one, {"decision": "benign"})
    assert (corrected["decision"], corrected["note"], corrected["decided_by"]) == ("benign", "", first["decided_by"])
    over = api.good("POST", path, two, {"decision": "malicious", "overrule": True})
    assert over["decided_by"] not in ("", first["decided_by"])
    records = api.good("GET", f"/api/v1/admin/audit?object={name}", api.admin)["items"]
    assert [(each["action"], each["detail"]) for each in records] == [
        ("reviews.decide", {"decision": "malicious", "before": "benign"}),
        ("reviews.decide", {"decision": "benign", "before": "malicious"}),
        ("reviews.decide", {"decision": "malicious"}),
    ]


@pytest.mark.parametrize(
    ("body", "status"),
    [
        ({}, 422), ({"decision": "perhaps"}, 422), ({"decision": "benign", "threat_types": ["injection"]}, 422),
        ({"decision": "malicious", "threat_types": ["something"]}, 422), ({"decision": "benign", "more": 1}, 422),
        ({"decision": "malicious", "threat_types": ["injection"] * 7}, 422), ({"decision": "benign", "note": 1}, 422),
        ({"decision": "benign", "note": "x" * 2001}, 422), ({"decision": "benign", "note": "\x1b"}, 422),
        ({"decision": "benign", "note": "\0"}, 400), ({"decision": "benign", "note": "\ud800"}, 400),
        ({"decision": "benign", "overrule": "yes"}, 422), ([], 422),
    ],
)  # fmt: skip
def test_what_is_no_decision_is_refused(api: Api, body: Any, status: int) -> None:
    (name,) = doubts.put(api, "a text for wrong bodies")
    found, problem = api.call("POST", f"{REVIEWS}/{name}/decide", api.admin, body)
    assert found == status, problem
    assert api.good("GET", f"{REVIEWS}/{name}", api.admin)["state"] == "waiting"


def test_what_can_t_be_asked_is_refused(api: Api) -> None:
    nothing = "01890000-0000-7000-8000-000000000000"
    for query in ("?state=open", "?decision=maybe", "?why=A", "?limit=0", "?limit=201", "?after=x", "?tenant=%00"):
        assert api.call("GET", REVIEWS + query, api.admin)[0] == 422, query
    for query in ("?state=some", "?decision=maybe"):
        assert api.call("GET", f"{REVIEWS}/export{query}", api.admin)[0] == 422, query
    for name, status in ((nothing, 404), ("exports", 422)):
        assert api.call("GET", f"{REVIEWS}/{name}", api.admin)[0] == status
        assert api.call("POST", f"{REVIEWS}/{name}/decide", api.admin, {"decision": "benign"})[0] == status


def test_pages_hold_each_text_once_and_exports_hold_all(api: Api, tenant: str) -> None:
    who = reviewer(api, tenant)
    texts = [f'text {number} 🎉\n"quoted"' for number in range(450)]
    ids = doubts.put(api, *texts, tenant=tenant)
    seen: list[str] = []
    query = "?limit=200"
    while query:
        page = api.good("GET", REVIEWS + query, who)
        seen += [each["id"] for each in page["items"]]
        query = f"?limit=200&after={page['next_cursor']}" if page["next_cursor"] else ""
    assert seen == ids
    lines = exported(api, who, "?state=waiting")
    assert [line["text"] for line in lines] == texts
    assert {line["label"] for line in lines} == {None}
    records = api.good("GET", f"/api/v1/admin/audit?action=reviews.export&tenant={tenant}", api.admin)["items"]
    assert [each["detail"] for each in records] == [{"state": "waiting", "decision": ""}]


def test_what_is_exported_can_be_trained_with(api: Api, tenant: str, tmp_path: Path) -> None:
    from tools.train_detector.rows import read

    who = reviewer(api, tenant)
    texts = {f"text to train {number} with": word for number, word in enumerate(("malicious", "benign", "malicious"))}
    for name, word in zip(doubts.put(api, *texts, tenant=tenant), texts.values(), strict=True):
        api.good("POST", f"{REVIEWS}/{name}/decide", who, {"decision": word})
    (tmp_path / "reviews.jsonl").write_bytes(api.send("GET", f"{REVIEWS}/export", who).body)
    rows = {row.text: row.attack for row in read(tmp_path) if row.text in texts}
    assert rows == {text: word == "malicious" for text, word in texts.items()}


def silent(release: threading.Event) -> Any:
    def answer(_request: Request, _connection: Connection) -> bytes | None:
        release.wait(30)
        return None

    return answer


def flagging(engine: Engine, **reviews: Any) -> dict[str, Any]:
    config = configured({"main": engine.url}, "flag", timeout="200ms")
    config["detection"]["reviews"] = reviews
    return config


def test_a_text_that_no_engine_judged_in_time_waits_for_a_person() -> None:
    release = threading.Event()
    with Engine(silent(release)) as engine, GatewayHarness(flagging(engine)) as gateway:
        api = Api(gateway)
        keys = [api.key("detect:use", "reviews:*", tenant=tenant) for tenant in "ab"]
        body = {"text": "is this an attack? ask ann@example.com", "config": {"confidence_threshold": 0.4}}
        for key in (keys[0], keys[0], keys[1]):
            found = api.good("POST", "/v1/detect", key["key"], body)
            assert (found["is_malicious"], found["confidence"], found["degraded"]) == (False, 0.5, True)
        (mine,) = listed(api, keys[0]["key"])
        assert (mine["times"], mine["why"], mine["confidence_threshold"]) == (2, "engine_timeout", 0.4)
        assert (mine["asked_by"], mine["engine"], mine["tenant"]) == (f"key:{keys[0]['id']}", "main", "a")
        assert api.good("GET", f"{REVIEWS}/{mine['id']}", keys[0]["key"])["text"] == body["text"]
        assert [each["times"] for each in listed(api, keys[1]["key"])] == [1]
        within(10, lambda: b'portico_detection_reviews_total{outcome="again"} 1' in metrics(api))
        assert b'portico_detection_reviews_total{outcome="kept"} 2' in metrics(api)
        redacted(api, engine, keys[0]["key"])
        pruned(api, engine, keys[0]["key"])
        release.set()
        engine.answer = lambda _request, _connection: telling()
        configure(api, {**flagging(engine), **configured({"main": engine.url}, timeout="10s")})
        assert not api.good("POST", "/v1/detect", keys[0]["key"], body)["degraded"]
        assert listed(api, keys[0]["key"]) == []  # a good answer is nobody's to review


def metrics(api: Api) -> bytes:
    return api.send("GET", "/metrics", api.admin).body


def configure(api: Api, config: dict[str, Any]) -> None:
    api.gateway.rewrite(config)
    api.gateway.reload()


def redacted(api: Api, engine: Engine, key: str) -> None:
    """As `text` says, texts are masked before they are kept, or removed when they are decided."""
    configure(api, flagging(engine, text="mask"))
    api.good("POST", "/v1/detect", key, {"text": "write to ann@example.com or +49 170 1234567"})
    found = listed(api, key)[-1]
    assert found["text_start"] == "write to [email] or [number]"
    configure(api, flagging(engine, text="drop"))
    made = api.good("POST", f"{REVIEWS}/{found['id']}/decide", key, {"decision": "benign"})
    assert (made["text"], made["text_start"], made["decision"]) == (None, None, "benign")
    assert [(line["text"], line["label"]) for line in exported(api, key)] == [(None, 0)]


def pruned(api: Api, engine: Engine, key: str) -> None:
    """What is too old is removed by a schedule; beyond `most` nothing is kept."""
    assert len(listed(api, key)) == 2
    configure(api, flagging(engine, most=1))
    api.good("POST", "/v1/detect", key, {"text": "one too many"})
    assert len(listed(api, key)) == 2
    configure(api, flagging(engine, keep="1s"))
    doubts.run_schedule(api, "detection.upkeep")
    within(30, lambda: listed(api, key) == [])


@pytest.mark.long
def test_the_same_on_postgresql_with_two_processes_and_many_at_once() -> None:
    from concurrent.futures import ThreadPoolExecutor

    release = threading.Event()
    with Engine(silent(release)) as engine:
        config = flagging(engine)
        config["server"] = {**config["server"], "services": {"processes": 2}}
        with running("postgresql", config) as api:
            key = api.key("detect:use", "reviews:*")["key"]

            def ask(number: int) -> dict[str, Any]:
                found: dict[str, Any] = api.good("POST", "/v1/detect", key, {"text": f"text {number % 4}"})
                return found

            with ThreadPoolExecutor(8) as pool:
                found = list(pool.map(ask, range(8)))
            flagged = sum(each["confidence"] == 0.5 for each in found)
            assert flagged > 0
            kept = listed(api, key)
            assert sum(each["times"] for each in kept) == flagged
            assert len({each["text_start"] for each in kept}) == len(kept) <= 4
            name = kept[0]["id"]
            assert api.good("POST", f"{REVIEWS}/{name}/decide", key, {"decision": "benign"})["decision"] == "benign"
            assert [line["id"] for line in exported(api, key)] == [name]
        release.set()
