"""The HTTP server of the services: uvicorn on a socket of ours, without signal handling of its own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

import uvicorn

if TYPE_CHECKING:
    from starlette.types import ASGIApp

KEEP_ALIVE: Final = 3600  # seconds; the edge decides how long its idle connections live, so that the two never race


class Server(uvicorn.Server):
    """A uvicorn server that leaves signals to the process."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Capture none."""
        yield


def make(app: ASGIApp, drain: float) -> Server:
    """A server of `app`; once told to exit, it lets what is in flight end for at most `drain` seconds."""
    config = uvicorn.Config(
        app,
        interface="asgi3",
        loop="none",
        ws="websockets-sansio",
        ws_per_message_deflate=False,  # it costs large messages 17-fold
        lifespan="off",
        log_config=None,
        log_level="warning",
        access_log=False,
        proxy_headers=False,
        server_header=False,
        date_header=False,
        timeout_keep_alive=KEEP_ALIVE,
    )
    config.timeout_graceful_shutdown = drain  # type: ignore[assignment]  # asyncio.wait_for takes fractions too
    return Server(config)
