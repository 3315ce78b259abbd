"""What is found in one step is what FastAPI finds by asking every route."""

from __future__ import annotations

import asyncio

import pytest
from fastapi import APIRouter, FastAPI
from fastapi.responses import PlainTextResponse
from starlette.types import Message

from portico.services.directory import Directory

ROUTES = (
    ("GET", "/a"),
    ("GET", "/{name}"),
    ("GET", "/b"),
    ("POST", "/b"),
    ("POST", "/c/{name}"),
    ("GET", "/c/d"),
    ("GET", "/a"),
    ("PUT", "/a"),
)
METHODS = ("GET", "POST", "PUT", "HEAD")
ASKED = [(method, path) for method in METHODS for path in ("/a", "/b", "/c/d", "/c", "/e/f", "/")]


def application(found_at_once: bool) -> FastAPI:
    app = FastAPI(openapi_url=None, docs_url=None, redoc_url=None, redirect_slashes=False)
    for number, (method, path) in enumerate(ROUTES):

        async def told(number: int = number) -> PlainTextResponse:
            return PlainTextResponse(str(number))

        app.add_api_route(path, told, methods=[method], response_model=None)
    nested = APIRouter()
    nested.add_api_route("/e/f", lambda: "nested", methods=["GET"])
    app.include_router(nested)
    app.add_api_route("/c", lambda: "after", methods=["GET"])
    if found_at_once:
        app.router.middleware_stack = Directory(app)
    return app


def ask(app: FastAPI, method: str, path: str) -> tuple[int, bytes]:
    scope = {"type": "http", "method": method, "path": path, "query_string": b"", "headers": []}
    sent: list[Message] = []

    async def receive() -> Message:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(message: Message) -> None:
        sent.append(message)

    asyncio.run(app(scope, receive, send))
    return sent[0]["status"], b"".join(each.get("body", b"") for each in sent[1:])


@pytest.mark.parametrize(("method", "path"), ASKED)
def test_the_same_route_answers(method: str, path: str) -> None:
    assert ask(application(True), method, path) == ask(application(False), method, path)


def test_a_path_without_parameters_is_not_searched() -> None:
    app = application(True)
    del app.router.routes[:]  # all that is left is what was looked up
    assert ask(app, "GET", "/a") == (200, b"0")
    assert ask(app, "PUT", "/a") == (200, b"7")
    assert ask(app, "GET", "/b")[0] == 404  # /{name} comes before it, and takes it
    assert ask(app, "GET", "/c")[0] == 404  # what comes after a router of its own is asked in turn
