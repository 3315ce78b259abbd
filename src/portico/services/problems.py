"""The services' refusals as problem+json (RFC 9457), of the same shape as the edge's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final

from fastapi import FastAPI, Request
from fastapi.exceptions import HTTPException as FastAPIHTTPException
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse
from starlette.types import Receive, Scope, Send

from portico.errors import AccountError, Busy, Invalid, Missing, Reused, StorageError, Taken, Unknown
from portico.telemetry import logs

MEDIA_TYPE: Final = "application/problem+json"
CHALLENGE: Final = 'Bearer realm="portico"'  # of every 401 (RFC 9110 15.5.2, RFC 6750 3)
MAX_ERRORS: Final = 50  # of one body; a list of a million wrong items is answered in kilobytes

KNOWN: Final = {
    400: ("bad_request", "the request can't be understood", "see /docs for what this path takes"),
    401: ("credentials_missing", "this path needs credentials", "send an API key as X-API-Key or as a bearer token"),
    403: ("forbidden", "the caller may not do this", "ask an administrator for the permission"),
    404: ("not_found", "there is nothing at this path", "GET /openapi.json lists every path"),
    405: ("method_not_allowed", "this path does not take this method", "the Allow field lists the methods it takes"),
    409: ("conflict", "this does not fit what is there", "get the present state, and decide anew"),
    413: ("body_too_large", "the body is too large", "send less at once"),
    415: ("unsupported_media_type", "the body is of a media type that this path does not take", "see /docs"),
    422: ("invalid_request", "the request has a wrong or missing value", "`errors` names each; /docs shows the schema"),
    429: ("too_many_attempts", "too many attempts were made", "try again after Retry-After seconds"),
    500: ("internal_error", "something went wrong here", "the logs tell more under this request_id"),
    503: ("unavailable", "this is not available now", "try again later"),
}


@dataclass(frozen=True, slots=True)
class Told:
    """How an error is told in HTTP."""

    status: int
    code: str
    hint: str


# What repositories refuse; the message is theirs.
ACCOUNTS: Final[dict[type[AccountError], Told]] = {
    Invalid: Told(422, code="invalid_request", hint="correct the value"),
    Taken: Told(409, code="taken", hint="choose another"),
    Missing: Told(404, code="not_found", hint="lists show what there is"),
    Unknown: Told(401, code="token_unknown", hint="ask for a new one"),
    Reused: Told(401, code="token_reused", hint="log in again"),
    Busy: Told(503, code="too_busy", hint="try again in a moment"),
}
OTHERWISE: Final = Told(409, code="conflict", hint="get the present state, and decide anew")


class Refused(FastAPIHTTPException):
    """Raised by a service to answer with a problem; what isn't said is taken from what is usual for the status."""

    def __init__(
        self,
        status: int,
        code: str = "",
        detail: str = "",
        hint: str = "",
        headers: Mapping[str, str] | None = None,
        *,
        about: tuple[str, str] | None = None,
    ) -> None:
        super().__init__(status, detail, dict(headers) if headers else None)
        self.code = code
        self.about = about  # the person (id, tenant) whom a stranger claims to be: for the audit trail, not the caller
        self.hint = hint


class ProblemResponse(JSONResponse):
    """A JSON answer of the media type for problems."""

    media_type = MEDIA_TYPE
    code = ""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer; the code is left in the request's state, for whoever records refusals."""
        scope.setdefault("state", {})["code"] = self.code
        await super().__call__(scope, receive, send)


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
    fields = {"WWW-Authenticate": CHALLENGE} if status == 401 else {}
    response = ProblemResponse(body, status, {**fields, **(headers or {}), "Cache-Control": "no-store"})
    response.code = name
    return response


def install(app: FastAPI) -> None:
    """Make every refusal of the application a problem."""
    app.add_exception_handler(HTTPException, _http)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(AccountError, _account)
    app.add_exception_handler(StorageError, _storage)
    app.add_exception_handler(Exception, _unexpected)


def request_id(request: Request) -> str:
    """The id that the edge gave the request."""
    return str(request.scope.get("state", {}).get("request_id", ""))


async def _http(request: Request, error: Exception) -> ProblemResponse:
    assert isinstance(error, HTTPException)
    said = error.detail if isinstance(error.detail, str) and error.detail != _phrase(error.status_code) else ""
    code, hint = (error.code, error.hint) if isinstance(error, Refused) else ("", "")
    if isinstance(error, Refused) and error.about is not None:
        request.scope.setdefault("state", {})["about"] = error.about
    return problem(request_id(request), error.status_code, code, said, hint, headers=error.headers)


async def _invalid(request: Request, error: Exception) -> ProblemResponse:
    assert isinstance(error, RequestValidationError)
    # The message and the place only: the input and its context may hold what must not be said back.
    errors = [
        {"path": ".".join(_said(part) for part in each["loc"]), "message": str(each["msg"])}
        for each in error.errors()[:MAX_ERRORS]
    ]
    return problem(request_id(request), 422, errors=errors)


def _said(part: object) -> str:
    """A part of a place; a key that the caller made up is not said back whole."""
    text = str(part)
    return text if len(text) <= 64 else text[:64] + "…"


async def _account(request: Request, error: Exception) -> ProblemResponse:
    assert isinstance(error, AccountError)
    told = next((each for kind, each in ACCOUNTS.items() if isinstance(error, kind)), OTHERWISE)
    headers = {"Retry-After": "1"} if told.status == 503 else None
    errors = [{"path": error.field, "message": str(error)}] if isinstance(error, Invalid) else None
    found = str(error)
    return problem(request_id(request), told.status, told.code, found, told.hint, headers=headers, errors=errors)


async def _storage(request: Request, error: Exception) -> ProblemResponse:
    logs.get("portico.services").error("the database can't be used", path=request.url.path, cause=str(error))
    detail = "the database can't be used at this moment; nothing was changed"
    return problem(request_id(request), 503, "database_unavailable", detail, headers={"Retry-After": "1"})


async def _unexpected(request: Request, error: Exception) -> ProblemResponse:
    # Starlette raises the error again after this answer; `Frame` logs it there.
    return problem(request_id(request), 500)


def _phrase(status: int) -> str:
    try:
        return HTTPStatus(status).phrase
    except ValueError:
        return "Error"
