"""The routes of `public`."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Depends, Request
from starlette.responses import HTMLResponse, RedirectResponse

from portico.services.callers import needs
from portico.services.host import Host
from portico.services.public import page, service
from portico.services.public.schemas import DetailedStatus, Status


def build(host: Host) -> APIRouter:
    """A router over `host`."""
    router = APIRouter(tags=["public"])

    @router.get("/api/v1/public/status", summary="State, version, features and availability")
    async def status() -> Status:
        return await service.status(host)

    @router.get(
        "/api/v1/admin/status",
        summary="State of the gateway, with latency and last error of each dependency",
        dependencies=[Depends(needs("health:read"))],
    )
    async def detailed() -> DetailedStatus:
        return await service.detailed(host)

    @router.get(
        "/api/v1/public/docs",
        summary="Redirects to the documentation",
        status_code=307,
        response_class=RedirectResponse,
    )
    async def docs() -> RedirectResponse:
        return RedirectResponse("/docs", 307)

    @router.get("/docs", include_in_schema=False)
    async def documentation(request: Request) -> HTMLResponse:
        policy = {"Content-Security-Policy": page.CONTENT_SECURITY_POLICY}
        return HTMLResponse(page.render(request.app.openapi()), headers=policy)

    @router.get("/openapi.json", include_in_schema=False)
    async def openapi(request: Request) -> dict[str, Any]:
        document: dict[str, Any] = request.app.openapi()
        return document

    return router
