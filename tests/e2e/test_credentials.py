"""docs/reference/credentials.md, row by row, against a running gateway.

Client certificates need a TLS listener and are tried in the edge's own tests.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.e2e.api import Api

PAGE = Path(__file__).parents[2] / "docs/reference/credentials.md"
ROW = re.compile(r"^\| (GET|POST|PATCH|PUT|DELETE) \| (.*) \|$", re.MULTILINE)
CODE = re.compile(r"`([^`]+)`")
NOTHING = "01890000-0000-7000-8000-000000000000"
REFUSED = ("credentials_missing", "credentials_unknown", "permission_missing", "credentials_refused")


@dataclass(frozen=True)
class Row:
    method: str
    path: str
    also: tuple[str, ...]
    credentials: tuple[str, ...]
    permission: str

    @property
    def paths(self) -> tuple[str, ...]:
        return (self.path, *self.also)


def rows() -> list[Row]:
    found = []
    for method, rest in ROW.findall(PAGE.read_text()):
        cells = [cell.strip() for cell in rest.split("|")]
        also = tuple(CODE.findall(cells[1]))
        credentials = tuple(cells[2].split(", ")) if len(cells) > 2 else ()
        permission = cells[3].strip("`") if len(cells) > 3 else ""
        found.append(Row(method, CODE.findall(cells[0])[0], also, credentials, permission))
    return found


ENDING = ("/api/v1/auth/rotate-key", "/api/v1/auth/revoke", "/api/v1/auth/logout")
ROWS = rows()
GUARDED = [row for row in ROWS if row.credentials]
NAMES = [f"{row.method} {row.path}" for row in GUARDED]


def asked(api: Api, row: Row, path: str, who: str | None) -> tuple[int, str]:
    """Status and code of one call; the code is empty when there was no problem."""
    body = {} if row.method in ("POST", "PATCH") else None
    answer = api.send(row.method, path.replace("{id}", NOTHING), who, body)
    problem = answer.header("Content-Type") == "application/problem+json"
    return answer.status, answer.json()["code"] if problem else ""


def key_of(api: Api, permission: str) -> str:
    """A key with one permission, made once."""
    if permission not in api.kept:
        api.kept[permission] = api.key(permission)["key"]
    return api.kept[permission]


def mighty(api: Api, row: Row) -> dict[str, str]:
    """A key and a token that may do everything; fresh ones where the path ends what it is called with."""
    if row.path in ENDING:
        return {"api_key": api.key("*")["key"], "jwt": api.token(("admin",))}
    if "token" not in api.kept:
        api.kept["token"] = api.token(("admin",))
    return {"api_key": key_of(api, "*"), "jwt": api.kept["token"]}


def test_the_page_lists_every_path_of_the_gateway_and_no_other(api: Api) -> None:
    shown = api.gateway.cli("routes", "--json", "-c", str(api.gateway.config_path))
    routes = json.loads(shown.stdout)["routes"]
    real = {(method, route["path"]) for route in routes if route["source"] != "file" for method in route["methods"]}
    assert len(ROWS) > 20
    assert {(row.method, path) for row in ROWS for path in row.paths} == real


def test_paths_for_anyone_ask_nobody(api: Api) -> None:
    for row in ROWS:
        if not row.credentials:
            for path in row.paths:
                status, code = asked(api, row, path, None)
                assert code not in REFUSED, (row, path)
                assert status in (200, 307, 401, 403, 422), (row, path, status)


@pytest.mark.parametrize("row", GUARDED, ids=NAMES)
def test_a_guarded_path(api: Api, row: Row) -> None:
    """It takes the credentials of its row and no others, and of those only callers with its permission."""
    for path in row.paths:
        status, code = asked(api, row, path, None)
        assert (status, code) == (401, "credentials_missing"), path
        status, code = asked(api, row, path, "pk_" + "0" * 49)
        assert status == 401, path
        for kind, who in mighty(api, row).items():
            status, code = asked(api, row, path, who)
            if kind in row.credentials:
                assert status != 401, (path, kind, code)
                assert code != "permission_missing", (path, kind)
            else:
                assert status == 401, (path, kind, code)
        if row.permission:
            other = row.permission.split(":")[0] + ":other"
            for weak in (other, row.permission + ":42"):
                assert asked(api, row, path, key_of(api, weak)) == (403, "permission_missing"), path
            exact = key_of(api, row.permission)
            assert asked(api, row, path, exact)[1] != "permission_missing", path


def test_openapi_says_the_same(api: Api) -> None:
    paths = api.good("GET", "/openapi.json")["paths"]
    for row in GUARDED:
        if row.path.startswith("/api/"):
            operation = paths[row.path][row.method.lower()]
            kinds = {name for each in operation["security"] for name in each}
            assert kinds - {"session", "api_key_bearer"} == set(row.credentials), row
            assert f"`{row.permission}`" in operation.get("description", "``"), row
            assert {"401", "403", "429", "503"} <= set(operation["responses"]), row
