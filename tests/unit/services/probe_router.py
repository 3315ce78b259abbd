"""The routes of the probe plugin."""

import asyncio
from collections.abc import AsyncIterator, Callable

from fastapi import APIRouter, HTTPException, Request
from pydantic import BaseModel
from starlette.responses import StreamingResponse


class Item(BaseModel):
    name: str
    password: int


def build(mark: str, slow_for: float, note: Callable[[str], None], *, hidden: bool) -> APIRouter:
    router = APIRouter(prefix="/api/v1/probe")

    @router.get("/mark")
    async def show() -> str:
        return mark

    @router.get("/slow")
    async def slow() -> str:
        note("request")
        await asyncio.sleep(slow_for)
        note("answer")
        return "done"

    @router.get("/caller")
    async def caller(request: Request) -> dict[str, object]:
        principal = request.state.principal
        return {
            "id": principal and principal.id,
            "request_id": request.state.request_id,
            "reads": principal and principal.allows("documents:read:orders"),
        }

    @router.get("/boom")
    async def boom() -> None:
        raise RuntimeError("pk_secret_detail")

    @router.get("/late")
    async def late() -> StreamingResponse:
        async def body() -> AsyncIterator[bytes]:
            yield b"first"
            raise RuntimeError("broken off")

        return StreamingResponse(body())

    @router.get("/teapot")
    async def teapot() -> None:
        raise HTTPException(418, "short and stout", {"X-Pot": "tea"})

    @router.post("/item")
    async def item(item: Item) -> str:
        return item.name

    if hidden:
        router.add_api_route("/hidden", show)
    return router
