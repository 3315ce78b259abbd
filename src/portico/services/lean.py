"""Routes that are asked so often that FastAPI's general way of reading a request would be most of the work."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from functools import lru_cache
from typing import Any, Final

from fastapi import APIRouter, Response
from fastapi.dependencies.models import Dependant
from fastapi.dependencies.utils import request_params_to_args
from starlette.requests import ClientDisconnect
from starlette.types import Message, Receive, Scope, Send

from portico.services import inputs
from portico.services.inputs import JsonError, TextRequest, TextRoute

JSON: Final = "application/json"
Values = dict[str, Any]
_is_json = lru_cache(64)(inputs.is_json)


def add(router: APIRouter, path: str, endpoint: Callable[..., Any], **described: Any) -> None:
    """Add a POST as a LeanRoute; `described` are what else `add_api_route` takes."""
    router.add_api_route(path, endpoint, methods=["POST"], route_class_override=LeanRoute, **described)


class LeanRoute(TextRoute):
    """Declared and described like every other route, and read with what was looked up once.

    Its coroutine takes one JSON body, and may take the request, the answer's fields, header fields, and dependencies
    that take the request; it returns an instance of its response model. A request that is not as it should be goes
    FastAPI's way, which says what is wrong with it.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        assert _plain(self.dependant), f"{self.path} takes what a LeanRoute can't read"
        assert self.response_field is not None, f"{self.path} has no response model"
        self._dump = self.response_field.serialize_json
        self._status = self.status_code or 200
        self._absent = {each.name: each.default for each in self.dependant.header_params}
        self._needs = [(each.name, each.call, each.request_param_name) for each in self.dependant.dependencies]

    async def handle(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        request = TextRequest(scope, receive)
        try:
            body = await request.body()
        except ClientDisconnect:
            return  # nobody waits for an answer
        response = Response(status_code=self._status, media_type=JSON)
        values = await self._values(request, body, response)
        if values is None:
            await super().handle(scope, _again(body, receive), send)
            return
        response.body = self._dump(await self.endpoint(**values))
        response.headers["content-length"] = str(len(response.body))
        await response(scope, receive, send)

    async def _values(self, request: TextRequest, body: bytes, response: Response) -> Values | None:
        """What the coroutine is called with; None when something is missing or wrong."""
        wanted = self.dependant
        if request.method != "POST" or not _is_json(request.headers.get("content-type", "")):
            return None
        try:
            given = inputs.parse(body, TextRequest.any_text)
        except JsonError:
            return None
        values: Values = {}
        for name, call, takes in self._needs:
            values[name or ""] = await _called(call, {takes: request} if takes else {})
        field = wanted.body_params[0]
        values[field.name], errors = field.validate(given, {}, loc=("body",))
        if any(each.alias in request.headers or each.field_info.is_required() for each in wanted.header_params):
            more, wrong = request_params_to_args(wanted.header_params, request.headers)
            values.update(more)
            errors += wrong
        else:
            values.update(self._absent)
        if wanted.request_param_name:
            values[wanted.request_param_name] = request
        if wanted.response_param_name:
            values[wanted.response_param_name] = response
        return None if errors else values


def _plain(wanted: Dependant) -> bool:
    """Whether a LeanRoute reads everything that is wanted."""
    others = (wanted.path_params, wanted.query_params, wanted.cookie_params)
    deeper = [each for each in wanted.dependencies if each.dependencies or each.header_params or each.body_params]
    return len(wanted.body_params) == 1 and not any(others) and not deeper


async def _called(call: Callable[..., Any] | None, values: Values) -> Any:
    assert call is not None
    found: Coroutine[Any, Any, Any] = call(**values)
    return await found


def _again(body: bytes, receive: Receive) -> Receive:
    """Receives a body that was read already, and then what comes after it."""
    messages: list[Message] = [{"type": "http.request", "body": body, "more_body": False}]

    async def read() -> Message:
        return messages.pop() if messages else await receive()

    return read
