"""The services' refusals as problem+json (RFC 9457), of the same shape as the edge's."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Any, Final

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse

MEDIA_TYPE: Final = "application/problem+json"
MAX_ERRORS: Final = 50  # of one body; a list of a million wrong items is answered in kilobytes

KNOWN: Final = {
    400: ("bad_request", "the request can't be understood", "see /docs for what this path takes"),
    401: ("credentials_missing", "this path needs credentials", "send an API key as X-API-Key or as a bearer token"),
    403: ("forbidden", "the caller may not do this", "ask an administrator for the permission"),
    404: ("not_found", "there is nothing at this path", "GET /openapi.json lists every path"),
    405: ("method_not_allowed", "this path does not take this method", "the Allow field lists the methods it takes"),
    413: ("body_too_large", "the body is too large", "send less at once"),
    422: ("invalid_request", "the request has a wrong or missing value", "`errors` names each; /docs shows the schema"),
    500: ("internal_error", "something went wrong here", "the logs tell more under this request_id"),
    503: ("unavailable", "this is not available now", "try again later"),
}


class ProblemResponse(JSONResponse):
    """A JSON answer of the media type for problems."""

    media_type = MEDIA_TYPE


def problem(
    request_id: str,
    status: int,
    code: str = "",
    detail: str = "",
    hint: str = "",
    *,
    headers: Mapping[str, str] | None = None,
    errors: list[dict[str, str]] | None = None,
) -> ProblemResponse:
    """A refusal; what isn't said is taken from what is usual for the status."""
    usual = KNOWN.get(status) or (f"http_{status}", _phrase(status), "see /docs")
    name = code or usual[0]
    body: dict[str, Any] = {
        "type": f"urn:portico:problem:{name}",
        "title": _phrase(status),
        "status": status,
        "code": name,
        "detail": detail or usual[1],
        "hint": hint or usual[2],
        "request_id": request_id,
    }
    if errors is not None:
        body["errors"] = errors
    return ProblemResponse(body, status, {**(headers or {}), "Cache-Control": "no-store"})


def install(app: FastAPI) -> None:
    """Make every refusal of the application a problem."""
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(Exception, _unexpected)


def request_id(request: Request) -> str:
    """The id that the edge gave the request."""
    return str(request.scope.get("state", {}).get("request_id", ""))


async def _http(request: Request, error: Exception) -> ProblemResponse:
    assert isinstance(error, HTTPException)
    said = error.detail if isinstance(error.detail, str) and error.detail != _phrase(error.status_code) else ""
    return problem(request_id(request), error.status_code, detail=said, headers=error.headers)


async def _invalid(request: Request, error: Exception) -> ProblemResponse:
    assert isinstance(error, RequestValidationError)
    # The message and the place only: the input and its context may hold what must not be said back.
    errors = [
        {"path": ".".join(str(part) for part in each["loc"]), "message": str(each["msg"])}
        for each in error.errors()[:MAX_ERRORS]
    ]
    return problem(request_id(request), 422, errors=errors)


async def _unexpected(request: Request, error: Exception) -> ProblemResponse:
    # Starlette raises the error again after this answer; `Frame` logs it there.
    return problem(request_id(request), 500)


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Error"
