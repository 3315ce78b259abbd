"""What the services answer: problems, security fields, documentation."""

from __future__ import annotations

import http.client
import json
import re
import time
from collections.abc import Iterator
from html.parser import HTMLParser

import pytest
from tests.unit.services.supervise import PUBLIC, Services, snapshot

from portico.contracts import PluginSpec
from portico.services.public import page


@pytest.fixture(scope="module")
def services() -> Iterator[Services]:
    with Services(snapshot(plugins=(PUBLIC, PluginSpec("probe", "tests.unit.services.probe:Probe")))) as running:
        yield running


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "code"),
    [
        ("GET", "/nothing/here", None, 404, "not_found"),
        ("GET", "/docs/", None, 404, "not_found"),  # no redirects that the edge's routes know nothing of
        ("GET", "/redoc", None, 404, "not_found"),
        ("DELETE", "/docs", None, 405, "method_not_allowed"),
        ("POST", "/api/v1/probe/item", b'{"name": 1, "password": "hunter2"}', 422, "invalid_request"),
        ("POST", "/api/v1/probe/item", b"{not json", 422, "invalid_request"),
        ("GET", "/api/v1/probe/boom", None, 500, "internal_error"),
        ("GET", "/api/v1/probe/teapot", None, 418, "http_418"),
    ],
)
def test_every_refusal_is_a_problem(
    services: Services, method: str, path: str, body: bytes | None, status: int, code: str
) -> None:
    fields = {"X-Request-Id": "req-1", "Content-Type": "application/json"}
    got, headers, answer = services.get(path, method, fields, body)
    problem = json.loads(answer)
    assert got == status == problem["status"]
    assert headers["Content-Type"] == "application/problem+json"
    assert headers["Cache-Control"] == "no-store"
    assert (problem["code"], problem["request_id"]) == (code, "req-1")
    assert problem["type"] == f"urn:portico:problem:{code}"
    assert problem["title"]
    assert problem["detail"]
    assert problem["hint"]
    assert b"hunter2" not in answer
    assert b"pk_secret_detail" not in answer


def test_405_says_what_is_allowed(services: Services) -> None:
    assert services.get("/docs", "DELETE")[1]["Allow"] == "GET"


def test_a_service_s_own_words_and_fields_are_kept(services: Services) -> None:
    _, headers, body = services.get("/api/v1/probe/teapot")
    assert json.loads(body)["detail"] == "short and stout"
    assert headers["X-Pot"] == "tea"


def test_422_names_each_place_and_echoes_no_input(services: Services) -> None:
    body = services.get("/api/v1/probe/item", "POST", {"Content-Type": "application/json"}, b'{"password": "hunter2"}')[
        2
    ]
    assert json.loads(body)["errors"] == [
        {"path": "body.name", "message": "Field required"},
        {"path": "body.password", "message": "Input should be a valid integer, unable to parse string as an integer"},
    ]


def test_an_error_nobody_expected_is_logged_once_with_its_request_id_and_without_secrets(services: Services) -> None:
    services.get("/api/v1/probe/boom", headers={"X-Request-Id": "req-boom"})
    services.get("/api/v1/probe/boom", headers={"X-Request-Id": "req-after"})
    deadline = time.monotonic() + 5
    while "req-after" not in services.log() and time.monotonic() < deadline:
        time.sleep(0.01)  # the line comes after the answer
    found = [json.loads(line) for line in services.log().splitlines() if "req-boom" in line]
    assert len(found) == 1
    assert found[0]["request_id"] == "req-boom"
    assert found[0]["event"] == "unexpected error"
    assert "RuntimeError: pk_[masked]" in found[0]["exception"]
    assert "secret_detail" not in services.log()


def test_an_answer_that_breaks_off_ends_uncleanly(services: Services) -> None:
    connection = services.connect()
    connection.request("GET", "/api/v1/probe/late")
    with pytest.raises(http.client.IncompleteRead):
        connection.getresponse().read()
    connection.close()


@pytest.mark.parametrize("path", ["/docs", "/openapi.json", "/api/v1/probe/mark", "/nothing", "/api/v1/probe/boom"])
def test_security_fields_are_on_every_answer(services: Services, path: str) -> None:
    headers = services.get(path)[1]
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["X-Frame-Options"] == "DENY"
    assert headers["Referrer-Policy"] == "no-referrer"
    assert headers["Content-Security-Policy"].startswith("default-src 'none'; frame-ancestors 'none'")
    assert "Server" not in headers


def test_connections_are_kept(services: Services) -> None:
    connection = services.connect()
    for _ in range(3):
        connection.request("GET", "/api/v1/probe/mark")
        answer = connection.getresponse()
        assert (answer.status, answer.read()) == (200, b'""')
        assert not answer.will_close
    connection.close()


class Links(HTMLParser):
    """Collects everything that a browser would load or follow."""

    def __init__(self) -> None:
        super().__init__()
        self.links: list[str] = []
        self.tags: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.links += [value or "" for name, value in attrs if name in ("href", "src", "srcset", "action", "data")]


def test_the_documentation_page_loads_nothing_from_anywhere(services: Services) -> None:
    status, headers, body = services.get("/docs")
    text = body.decode()
    assert status == 200
    assert headers["Content-Type"] == "text/html; charset=utf-8"
    links = Links()
    links.feed(text)
    assert [link for link in links.links if not link.startswith("#")] == ["/openapi.json"]
    inside = {link for link in links.links if link.startswith("#")}
    assert "#schema-Status" in inside
    assert all(f'id="{link[1:]}"' in text for link in inside)
    assert "`" not in text.partition("<h2>Schemas")[0]
    assert not links.tags & {"script", "link", "img", "iframe", "object", "base", "form"}
    assert not re.search(r"https?:|url\(|@import|[\"'=]//", text)
    assert "sha256-" in headers["Content-Security-Policy"]
    for path in ("/api/v1/public/status", "/api/v1/probe/item"):
        assert f"<code>{path}</code>" in text


def test_the_openapi_document_describes_the_routes(services: Services) -> None:
    status, headers, body = services.get("/openapi.json")
    document = json.loads(body)
    assert (status, headers["Content-Type"]) == (200, "application/json")
    assert document["openapi"].startswith("3.1")
    assert {"/api/v1/public/status", "/api/v1/probe/item"} <= set(document["paths"])
    assert "/docs" not in document["paths"]


def test_public_docs_redirects(services: Services) -> None:
    status, headers, _ = services.get("/api/v1/public/docs")
    assert (status, headers["Location"]) == (307, "/docs")


def test_what_plugins_write_into_the_document_is_escaped() -> None:
    evil = "<script>alert(1)</script>"
    text = page.render({
        "info": {"title": evil, "version": evil},
        "paths": {f"/{evil}": {"get": {
            "summary": evil, "description": evil,
            "parameters": [{"name": evil, "in": evil, "description": evil}],
            "requestBody": {"content": {evil: {}}},
            "responses": {evil: {"description": evil, "content": {evil: {"schema": {"$ref": f"#/a/{evil}"}}}}},
        }}},
        "components": {"schemas": {evil: {"description": evil}, '"': {}}},
    })  # fmt: skip
    assert "<script" not in text
    assert 'id="schema-&quot;"' in text
    assert text.count("&lt;script&gt;") >= 10
