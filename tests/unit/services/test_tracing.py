"""A request as a span of the services, and the door for the edge's spans."""

from __future__ import annotations

import asyncio
import json
from contextlib import suppress
from typing import Any

import pytest
import structlog
from fastapi import FastAPI, WebSocket
from starlette.types import Message, Receive, Scope, Send
from tests.collector import Collector, Seen

from portico import contracts
from portico.services import problems
from portico.services.tracing import LARGEST, PATH, Traced, router
from portico.telemetry import tracing
from portico.telemetry.tracing.process import Tracing

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
SAMPLED = f"00-{TRACE}-00f067aa0ba902b7-01"


def application(process: Tracing, logged: list[dict[str, Any]]) -> Any:
    """Behind a frame that gives every request an id."""
    app = FastAPI()
    problems.install(app)

    @app.get("/hooks/{secret}")
    async def hook(secret: str) -> dict[str, bool]:
        logged.append(structlog.contextvars.get_contextvars())
        with tracing.span("inside"):
            return {"traced": tracing.current() is not None}

    @app.get("/broken")
    async def broken() -> None:
        raise RuntimeError("hush")

    @app.websocket("/ws/{room}")
    async def talk(websocket: WebSocket, room: str) -> None:
        await websocket.accept()
        await websocket.send_text(room)
        await websocket.close()

    app.include_router(router(process))
    traced = Traced(app, process)

    async def framed(scope: Scope, receive: Receive, send: Send) -> None:
        scope["state"] = {"request_id": "r-1"}
        await traced(scope, receive, send)

    return framed


class Client:
    """Calls an ASGI application as a server does."""

    def __init__(self, app: Any) -> None:
        self.app = app

    def call(self, method: str, path: str, traceparent: str = "", body: bytes = b"") -> tuple[int, bytes]:
        """Status and body of the answer."""
        sent = self._run(
            {"type": "http", "method": method}, path, traceparent, [{"type": "http.request", "body": body}]
        )
        answer = b"".join(each.get("body", b"") for each in sent if each["type"] == "http.response.body")
        return next(int(each["status"]) for each in sent if each["type"] == "http.response.start"), answer

    def get(self, path: str, traceparent: str = "") -> tuple[int, Any]:
        """Status and JSON of the answer."""
        status, answer = self.call("GET", path, traceparent)
        return status, json.loads(answer)

    def talk(self, path: str, traceparent: str) -> list[str]:
        """What a WebSocket says."""
        sent = self._run({"type": "websocket"}, path, traceparent, [{"type": "websocket.connect"}])
        return [str(each["text"]) for each in sent if each["type"] == "websocket.send"]

    def _run(self, kind: dict[str, str], path: str, traceparent: str, messages: list[Message]) -> list[Message]:
        sent: list[Message] = []
        headers = [(b"traceparent", traceparent.encode())] if traceparent else []
        scope = {**kind, "path": path, "raw_path": path.encode(), "query_string": b"", "headers": headers}

        async def receive() -> Message:
            return messages.pop(0)

        async def send(message: Message) -> None:
            sent.append(message)

        with suppress(RuntimeError):  # the handler's own goes on after its answer
            asyncio.run(self.app(scope, receive, send))
        return sent


def test_requests_of_all_kinds() -> None:
    process = Tracing()
    logged: list[dict[str, Any]] = []
    with Collector() as collector:
        asyncio.run(process.configure(contracts.Tracing(collector.url + "/v1/traces")))
        client = Client(application(process, logged))
        assert client.get("/hooks/hush", SAMPLED) == (200, {"traced": True})
        assert client.get("/hooks/hush", SAMPLED[:-1] + "0") == (200, {"traced": False})
        assert client.get("/hooks/hush") == (200, {"traced": False})
        assert client.get("/broken", SAMPLED)[0] == 500
        assert client.get("/nowhere", SAMPLED)[0] == 404
        assert client.talk("/ws/one", SAMPLED) == ["one"]
        asyncio.run(process.stop())
    assert [each.get("trace_id") for each in logged] == [TRACE, None, None]
    found: dict[str, Seen] = {span.name: span for span in collector.spans}
    assert set(found) == {"GET /hooks/{secret}", "inside", "GET /broken", "GET", "GET /ws/{room}"}
    hook = found["GET /hooks/{secret}"]
    assert (hook.kind, hook.parent, hook.failed) == ("server", "00f067aa0ba902b7", False)
    assert hook.attributes["portico.request_id"] == "r-1"
    assert found["inside"].parent == hook.id
    broken = found["GET /broken"]
    assert (broken.failed, broken.attributes["http.response.status_code"]) == (True, 500)
    assert found["GET"].attributes["http.response.status_code"] == 404
    assert found["GET /ws/{room}"].attributes["http.response.status_code"] == 101
    assert b"hush" not in collector.bytes


@pytest.mark.parametrize("body", [b"", b"{}", b'{"instance":"e","spans":[[]]}', b"\xff"])
def test_what_is_no_batch_is_refused(body: bytes) -> None:
    process = Tracing()
    with Collector() as collector:
        asyncio.run(process.configure(contracts.Tracing(collector.url)))
        client = Client(application(process, []))
        assert client.call("POST", PATH, body=body)[0] == 400
        asyncio.run(process.stop())
        assert client.call("POST", PATH, body=body)[0] == 204, "nobody looks at it while tracing is off"
    assert collector.spans == []


def test_a_batch_has_a_bound() -> None:
    client = Client(application(Tracing(), []))
    assert client.call("POST", PATH, body=b"x" * (LARGEST + 1))[0] == 413
