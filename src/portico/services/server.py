"""The HTTP server of the services: uvicorn on a socket of ours, without signal handling of its own."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Final

import uvicorn

from portico.services.taking import Taking

if TYPE_CHECKING:
    from starlette.types import ASGIApp

KEEP_ALIVE: Final = 3600  # seconds; the edge decides how long its idle connections live, so that the two never race


class Server(uvicorn.Server):
    """A uvicorn server that leaves signals to the process, and connections to other processes."""

    taking: Taking | None = None
    shared = False  # its socket, with other processes

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Take connections from the one socket given."""
        assert sockets is not None
        kind: Any = self.config.http_protocol_class

        def protocol() -> asyncio.Protocol:
            made: asyncio.Protocol = kind(config=self.config, server_state=self.server_state, app_state={})
            return made

        self.taking = Taking(sockets[0], protocol, self.shared)
        self.taking.start()
        self.servers = []
        self.started = True

    def take_no_more(self) -> None:
        """Leave what comes to other processes."""
        if self.taking is not None:
            self.taking.close()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Take no more, let what is in flight end, close."""
        self.take_no_more()
        if self.taking is not None:
            await self.taking.wait_closed()
        await super().shutdown()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Capture none."""
        yield


def make(app: ASGIApp, drain: float, shared: bool) -> Server:
    """A server of `app`, on a socket that may be `shared` with other processes.

    Once told to exit, it lets what is in flight end for at most `drain` seconds.
    """
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
    server = Server(config)
    server.shared = shared
    return server
