"""A LeanRoute answers what FastAPI's own way would, byte for byte."""

from __future__ import annotations

import asyncio
import json
from typing import Annotated, Any

import pytest
from fastapi import APIRouter, Depends, FastAPI, Header, Request, Response
from pydantic import Field
from starlette.types import Message

from portico.services import inputs, lean, problems
from portico.services.directory import Directory
from portico.services.problems import Refused
from portico.services.values import Body
from portico.services.views import View


class Asked(Body):
    text: str = Field(min_length=1, max_length=5)
    number: int = 7


class Told(View):
    text: str
    number: int
    caller: str
    key: str | None


async def calling(request: Request) -> str:
    if "caller" not in request.headers:
        raise Refused(401)
    return request.headers["caller"]


async def answer(
    request: Request,
    response: Response,
    caller: Annotated[str, Depends(calling)],
    body: Asked,
    key: Annotated[str | None, Header(alias="Some-Key", max_length=3)] = None,
) -> Told:
    if body.text == "no":
        raise Refused(409, "taken")
    response.headers["Location"] = f"/there/{request.method}"
    return Told(text=body.text, number=body.number, caller=caller, key=key)


def application() -> FastAPI:
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None)
    problems.install(app)
    usual = inputs.router("usual", inputs.TextRoute)
    usual.post("/usual", status_code=202)(answer)
    quick = APIRouter(tags=["usual"])
    lean.add(quick, "/lean", answer, status_code=202)
    app.router.routes.extend([*usual.routes, *quick.routes])
    app.router.middleware_stack = Directory(app)
    return app


def ask(app: FastAPI, path: str, pieces: list[bytes], fields: dict[str, str], method: str = "POST") -> list[Any]:
    headers = [(name.lower().encode(), value.encode("latin-1")) for name, value in fields.items()]
    scope = {
        "type": "http",
        "method": method,
        "path": path,
        "query_string": b"",
        "headers": headers,
        "state": {"request_id": "r1"},
    }
    messages: list[Message] = [{"type": "http.request", "body": piece, "more_body": True} for piece in pieces]
    messages.append({"type": "http.request", "body": b"", "more_body": False})
    sent: list[Message] = []

    async def receive() -> Message:
        return messages.pop(0) if messages else {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        sent.append(message)

    asyncio.run(app(scope, receive, send))
    start, *rest = sent
    return [start["status"], sorted(start["headers"]), b"".join(each.get("body", b"") for each in rest)]


KNOWN = {"Content-Type": "application/json", "Caller": "me"}


@pytest.mark.parametrize(
    ("status", "body", "fields"),
    [
        (202, {"text": "a"}, {}),
        (202, {"text": "ä\x07", "number": 3}, {"Content-Type": "application/json; charset=utf-8"}),
        (202, {"text": "a"}, {"Content-Type": "Application/Problem+JSON", "Some-Key": "k"}),
        (409, {"text": "no"}, {}),
        (401, {"text": "a"}, {"Caller": ""}),
        (401, {}, {"Caller": ""}),
        (422, {"text": "a"}, {"Some-Key": "four"}),
        (422, {"text": "", "number": "x", "more": 1}, {"Some-Key": "four"}),
        (422, {}, {}),
        (422, [], {}),
        (422, None, {}),
        (422, b"", {}),
        (422, b"", {"Content-Type": ""}),
        (415, {"text": "a"}, {"Content-Type": "text/plain"}),
        (415, {"text": "a"}, {"Content-Type": ""}),
        (400, b"{", {}),
        (400, b'{"text": "a", "text": "b"}', {}),
        (422, b"\xff", {}),
        (400, b"[" * 100_000, {}),
    ],
)
def test_it_answers_as_any_other_route(status: int, body: Any, fields: dict[str, str]) -> None:
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    given = {name: value for name, value in {**KNOWN, **fields}.items() if value}
    app = application()
    found = ask(app, "/lean", [raw[:3], raw[3:]], given)
    assert found[0] == status
    assert found == ask(app, "/usual", [raw], given)


def test_another_method_is_refused_with_the_one_it_takes() -> None:
    app = application()
    found = ask(app, "/lean", [], KNOWN, "GET")
    assert (found[0], (b"allow", b"POST") in found[1]) == (405, True)
    assert found == ask(app, "/usual", [], KNOWN, "GET")


def test_what_it_can_not_read_is_told_when_it_is_made() -> None:
    async def paged(page: int, body: Asked) -> Told:
        return Told(text=body.text, number=page, caller="", key=None)

    with pytest.raises(AssertionError, match="/paged takes what a LeanRoute can't read"):
        lean.add(APIRouter(), "/paged", paged)
