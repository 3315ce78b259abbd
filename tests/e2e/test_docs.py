"""The documentation says what is so: the README's walk-through is done, and lists are compared with the source."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests.e2e import documented
from tests.e2e.walkthrough import ROOT, Walkthrough, blocks

import check_docs
from portico.config.schema import json_schema
from portico.telemetry.metrics import Totals
from portico.telemetry.spool import Measures
from portico.testing import FakeUpstream, GatewayHarness

DOCS = ROOT / "docs"
COSTLY = {"window": "9/minute", "cost": "header:X-Cost"}
WALK = "## Ten minutes to a route of your own"


def test_the_walk_through_of_the_readme_works_as_it_is_printed(tmp_path: Path) -> None:
    steps = blocks(ROOT / "README.md", WALK)
    assert sum(block.info == "text" for block in steps) >= 6
    with Walkthrough(tmp_path) as reader:
        reader.follow(steps)


def test_the_index_lists_every_page() -> None:
    links = set(re.findall(r"\]\(([\w/-]+\.md)\)", (DOCS / "README.md").read_text("utf-8")))
    pages = {path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md")} - {"README.md"}
    assert links == pages


def test_decisions_are_short_and_of_one_form() -> None:
    for path in sorted((DOCS / "adr").glob("[0-9]*.md")):
        text = path.read_text("utf-8")
        assert len(text.splitlines()) <= 40, path.name
        assert re.findall(r"^## (.*)$", text, re.MULTILINE) == ["Context", "Decision", "Consequences"], path.name


def test_every_room_of_the_source_is_in_the_architecture_and_no_other() -> None:
    rows = documented.first_cells(ROOT / "ARCHITECTURE.md", "## The rooms")
    source = ROOT / "src" / "portico"
    rooms = {path.name + "/" for path in source.iterdir() if path.is_dir() and list(path.glob("*.py"))}
    files = {path.name for path in source.glob("*.py")} - {"__init__.py", "__main__.py"}
    assert set(rows) == rooms | files


def test_every_code_of_the_edge_and_the_services_is_explained_and_no_other() -> None:
    explained = documented.first_cells(DOCS / "reference" / "errors.md")
    in_source = documented.codes("edge") | documented.codes("services") | documented.codes("identity")
    assert set(explained) == in_source
    assert len(explained) == len(set(explained))


def test_every_code_has_a_cause_and_a_cure() -> None:
    page = (DOCS / "reference" / "errors.md").read_text("utf-8")
    rows = documented.rows(DOCS / "reference" / "errors.md")
    assert len(rows) == page.count("\n| `")
    assert [code for code, cells in rows.items() if len(cells) != 3 or not all(cells)] == []


def test_codes_are_found_wherever_they_come_from() -> None:
    found = documented.codes("edge")
    assert {"bad_chunk", "credentials_unknown", "window_exceeded", "upstream_reset", "client_gone"} <= found
    assert {"principal_invalid", "invalid_request"} <= documented.codes("services")
    assert "overloaded" in found
    assert not {"check", "build", "client"} & found


@pytest.mark.parametrize(
    ("path", "method", "status", "code"),
    [
        ("/nowhere", "GET", 404, "route_not_found"),
        ("/one", "DELETE", 405, "method_not_allowed"),
        ("/keyed", "GET", 401, "credentials_missing"),
        ("/dead", "GET", 502, "upstream_unreachable"),
        ("/one/../%2e%2e;x/a", "GET", 400, "bad_target"),
    ],
)
def test_an_answer_has_the_status_that_the_page_gives_for_its_code(
    gateway: GatewayHarness, path: str, method: str, status: int, code: str
) -> None:
    answer = gateway.request(method, path)
    assert (answer.status, answer.json()["code"]) == (status, code)
    row = documented.rows(DOCS / "reference" / "errors.md")[code]
    assert str(status) in row[0]


def test_every_metric_is_described_and_no_other() -> None:
    described = documented.first_cells(DOCS / "reference" / "observing.md", "## Metrics")
    totals = Totals()
    spool = Measures(0, 0.0, 0, 0)
    text = totals.render(version="1", python="3", compiled=False, reloads_ok=0, reloads_failed=0, spool=spool)
    names = set(re.findall(r"^# TYPE (\S+) ", text, re.MULTILINE))
    assert set(described) == names


def test_the_labels_of_metrics_are_those_described(gateway: GatewayHarness) -> None:
    gateway.request("GET", "/one")
    gateway.request("GET", "/limited")
    gateway.request("GET", "/limited")
    gateway.request("GET", "/costly")
    who = {"X-API-Key": "k", "Content-Type": "application/json"}
    assert gateway.request("POST", "/v1/detect", who, '{"text": "a"}').json()["degraded"]
    gateway.request("POST", "/guarded", {}, b"of no kind")
    text = _with_webhooks(gateway)
    described = documented.rows(DOCS / "reference" / "observing.md", "## Metrics")
    for name, (kind, labels, *_) in described.items():
        here = name.replace("portico_worker_", "portico_")  # there is no such worker; tests/e2e/test_jobs.py has one
        sample = re.search(rf"^{here}(?:_count)?(?:\{{(.*?)\}})? ", text, re.MULTILINE)
        assert sample, name
        found = set(re.findall(r"(\w+)=\"", sample[1] or ""))
        assert found == set(re.findall(r"`(\w+)`", labels)), name
        assert f"# TYPE {name} {kind}" in text


def _with_webhooks(gateway: GatewayHarness) -> str:
    """The metrics, once a webhook has been delivered and the services have told of it."""
    who = {"X-API-Key": "k", "Content-Type": "application/json"}
    url = gateway.config["upstreams"]["up"]["targets"][0]  # type: ignore[index,call-overload]
    made = gateway.request("POST", "/webhooks/register", who, json.dumps({"url": url})).json()
    sent = gateway.request("POST", "/webhooks/test", who, json.dumps({"id": made["id"]})).json()
    assert gateway.request("POST", f"/webhooks/deliveries/{sent['delivery_id']}/replay", who).status == 202
    deadline = time.monotonic() + 15
    while "portico_webhook_deliveries_total{" not in (text := gateway.request("GET", "/metrics", who).body.decode()):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    return text


def test_the_fields_of_the_access_log_are_those_described(gateway: GatewayHarness) -> None:
    gateway.request("GET", "/one?secret=1")
    line = gateway.access_log()[-1]
    described = documented.first_cells(DOCS / "reference" / "observing.md", "## The access log")
    # tests/e2e/edge/test_tracing.py, test_tls.py and test_guard.py have the others
    assert [*line, "trace_id", "tls", "guard"] == described


def test_every_setting_is_in_the_reference_with_its_default() -> None:
    table = documented.rows(DOCS / "reference" / "configuration.md")
    known = documented.settings(json_schema())
    assert set(table) == set(known)
    for key, default in known.items():
        if default is not documented.NOTHING:
            shown = yaml.safe_load(table[key][0].strip("`"))
            assert shown == default, f"{key}: the page says {table[key][0]}, the schema {default!r}"


def test_the_reference_calls_nothing_refused() -> None:
    table = documented.rows(DOCS / "reference" / "configuration.md")
    assert not [key for key, cells in table.items() if "Refused" in cells[-1]]


def test_the_documentation_check_reads_examples_and_decisions() -> None:
    pages = {path.relative_to(ROOT).as_posix() for pattern in check_docs.PAGES for path in ROOT.glob(pattern)}
    assert {"README.md", "ARCHITECTURE.md", "docs/README.md", "examples/one-route/README.md"} <= pages


@pytest.fixture(scope="module")
def gateway() -> Any:
    digest = "8254c329a92850f6d539dd376f4816ee2764517da5e0235514af433164480d7a"  # of "k"
    with FakeUpstream() as fake:
        config = {
            "outbound": {"allow": ["127.0.0.1/32"]},
            "upstreams": {"up": {"targets": [fake.url]}, "dead": {"targets": ["http://127.0.0.1:1"]}},
            "keys": [{"id": "k", "sha256": digest, "permissions": ["metrics:read", "detect:use"]}],
            "detection": {"engines": [{"name": "dead", "url": "http://127.0.0.1:1"}]},
            "routes": [
                {"name": "one", "paths": ["/one"], "methods": ["GET"], "upstream": "up"},
                {"name": "keyed", "paths": ["/keyed"], "upstream": "up", "auth": ["api_key"]},
                {"name": "dead", "paths": ["/dead"], "upstream": "dead"},
                {"name": "limited", "paths": ["/limited"], "upstream": "up", "limits": [{"window": "1/minute"}]},
                {"name": "guarded", "paths": ["/guarded"], "upstream": "up", "guard": {"detect": "prompt_injection"}},
                {"name": "costly", "paths": ["/costly"], "upstream": "up", "limits": [COSTLY]},
            ],
        }
        with GatewayHarness(config) as made:
            yield made
