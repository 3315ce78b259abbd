"""The two cookies of a browser's session (RFC 6265): out of reach for scripts and for other sites."""

from __future__ import annotations

from typing import Final

from fastapi import Request, Response

from portico.services.callers import secure

SESSION: Final = "portico_session"  # the access token; the edge reads it
REFRESH: Final = "portico_refresh"  # the refresh token; goes to one path only
REFRESH_PATH: Final = "/api/v1/auth/refresh"


def give(request: Request, response: Response, access: tuple[str, float], refresh: tuple[str, float]) -> None:
    """Set both; each is (token, seconds that it is valid). Over https they are Secure."""
    _set(request, response, SESSION, *access, "/")
    _set(request, response, REFRESH, *refresh, REFRESH_PATH)


def take(request: Request, response: Response) -> None:
    """Make the browser forget both."""
    _set(request, response, SESSION, "", 0, "/")
    _set(request, response, REFRESH, "", 0, REFRESH_PATH)


def wanted(request: Request) -> bool:
    """Whether the request comes from a browser's page that would show what it is answered."""
    return "text/html" in request.headers.get("accept", "")


def _set(request: Request, response: Response, name: str, value: str, seconds: float, path: str) -> None:
    response.set_cookie(
        name, value, max_age=int(seconds), path=path, secure=secure(request), httponly=True, samesite="strict"
    )
