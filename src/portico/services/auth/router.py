"""The routes of `auth`."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Cookie, Request, Response

from portico.services import callers, inputs
from portico.services.auth import cookies, keys, people
from portico.services.auth.cookies import REFRESH
from portico.services.auth.parts import Parts
from portico.services.auth.schemas import (
    Jwks,
    Login,
    Profile,
    ProfileChange,
    Refresh,
    Register,
    SessionView,
    Tokens,
)
from portico.services.callers import Caller
from portico.services.document import refusals
from portico.services.problems import Refused
from portico.services.values import Cursor, Id, Limit
from portico.services.views import IssuedKey, Page, Rotate, Rotated, issued
from portico.storage.accounts import Session

BASE = "/api/v1/auth"
TAKEN = refusals({409: "It does not fit what is there"})
WRONG = refusals({401: "What was shown is not valid"})
FORBIDDEN = refusals({403: "This may not be done"})


def build(parts: Parts) -> APIRouter:
    """A router over `parts`."""
    router = inputs.router("auth")
    _keys(router, parts)
    _profile(router, parts)
    _login(router, parts)
    _sessions(router, parts)
    return router


def _keys(router: APIRouter, parts: Parts) -> None:
    @router.post(BASE + "/register", status_code=201, responses={**FORBIDDEN, **TAKEN}, summary="Get an API key")
    async def register(body: Register, request: Request) -> IssuedKey:
        return issued(*await keys.register(parts, body, callers.address(request, parts.proxies)))

    @router.post(BASE + "/rotate-key", responses=TAKEN, summary="Replace the API key that the request was sent with")
    async def rotate(caller: Caller, body: Rotate | None = None) -> Rotated:
        record, key, end = await keys.rotate(parts, caller, (body or Rotate()).grace_seconds)
        return Rotated(**issued(record, key).model_dump(), old_key_expires_at=end)

    @router.delete(
        BASE + "/revoke",
        status_code=204,
        response_class=Response,
        responses=TAKEN,
        summary="Revoke the API key that the request was sent with",
    )
    async def revoke(caller: Caller) -> None:
        await keys.revoke(parts, caller)


def _profile(router: APIRouter, parts: Parts) -> None:
    @router.get(BASE + "/profile", summary="The caller: a key, a person or a device")
    async def profile(caller: Caller) -> Profile:
        return await people.profile(parts, caller)

    @router.patch(BASE + "/profile", summary="Change the caller's own name or password")
    async def change(caller: Caller, body: ProfileChange, request: Request) -> Profile:
        await people.change_profile(parts, caller, body, callers.address(request, parts.proxies))
        return await people.profile(parts, caller)

    @router.get(BASE + "/jwks.json", summary="The public keys of this gateway's own tokens")
    async def jwks() -> Jwks:
        return Jwks(keys=await parts.signing.public())


def _login(router: APIRouter, parts: Parts) -> None:
    @router.post(BASE + "/login", responses={**WRONG, **FORBIDDEN}, summary="Log in with e-mail address and password")
    async def login(body: Login, request: Request, response: Response) -> Tokens:
        browser = body.cookie or cookies.wanted(request)
        if browser and "origin" in request.headers:
            _own_origin(request)
        address = callers.address(request, parts.proxies)
        agent = request.headers.get("user-agent", "")
        found = await people.login(parts, body.email, body.password, address, agent)
        return await _answer(parts, request, response, found, browser=browser)

    @router.post(BASE + "/refresh", responses={**WRONG, **FORBIDDEN}, summary="A new access token for a refresh token")
    async def refresh(
        request: Request,
        response: Response,
        body: Refresh | None = None,
        kept: Annotated[str | None, Cookie(alias=REFRESH, include_in_schema=False)] = None,
    ) -> Tokens:
        given = body.refresh_token if body is not None else None
        browser = given is None
        if browser:
            if kept is None:
                raise Refused(401, "refresh_token_missing", "no refresh token was sent", "log in")
            _own_origin(request)
        found = await people.refresh(parts, given or kept or "")
        return await _answer(parts, request, response, found, browser=browser)

    @router.post(
        BASE + "/logout",
        status_code=204,
        response_class=Response,
        responses=TAKEN,
        summary="End the session of the token",
    )
    async def logout(caller: Caller, request: Request, response: Response) -> None:
        await people.logout(parts, caller)
        cookies.take(request, response)


def _sessions(router: APIRouter, parts: Parts) -> None:
    @router.get(BASE + "/sessions", summary="The caller's sessions, oldest first")
    async def sessions(caller: Caller, after: Cursor = None, limit: Limit = 50) -> Page[SessionView]:
        items, following = await people.sessions(parts, caller, after, limit)
        return Page(items=items, next_cursor=following)

    @router.delete(
        BASE + "/sessions/{id}", status_code=204, response_class=Response, summary="End one of the caller's sessions"
    )
    async def end(caller: Caller, name: Id) -> None:
        await people.end_session(parts, caller, name)


async def _answer(
    parts: Parts, request: Request, response: Response, found: tuple[Session, str], *, browser: bool
) -> Tokens:
    """Tokens in the answer, or in a browser's cookies."""
    session, refresh = found
    access, seconds = await people.access(parts, session)
    if browser:
        left = (session.expires_at - session.used_at).total_seconds()
        cookies.give(request, response, (access, seconds), (refresh, left))
    return Tokens(
        access_token=None if browser else access,
        refresh_token=None if browser else refresh,
        expires_in=seconds,
        refresh_expires_at=session.expires_at,
        session_id=session.id,
    )


def _own_origin(request: Request) -> None:
    if not callers.same_origin(request):
        detail = "a cookie was sent by a page of another origin, or by none"
        raise Refused(403, "origin_refused", detail, "send the request from a page of this gateway")
