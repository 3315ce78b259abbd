"""WebSockets of our own services: through the edge, with its policies, to a plugin's router."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pytest
from tests.integration.test_supervisor_reload import install
from websockets.exceptions import ConnectionClosedOK, InvalidStatus
from websockets.sync.client import connect

from portico.testing import GatewayHarness

KEY = "pk_websocket_test_0123456789"
TALK = """
from portico.contracts import Mount
from portico.kernel.plugin import BasePlugin, PluginInfo, PluginType

class Plugin(BasePlugin):
    info = PluginInfo("talk", PluginType.BUSINESS)
    mounts = (Mount("GET", "/api/v1/talk", layer="app", permission="talk:use"),)

    def router(self):
        from fastapi import APIRouter, WebSocket
        router = APIRouter()

        @router.websocket("/api/v1/talk")
        async def talk(socket: WebSocket) -> None:
            await socket.accept()
            await socket.send_text(socket.state.principal.id)
            async for text in socket.iter_text():
                if text == "bye":
                    await socket.close()
                    return
                await socket.send_text(text[::-1])

        return router
"""


def test_a_websocket_to_the_services(tmp_path: Path) -> None:
    install(tmp_path, "talk", TALK)
    key = {"id": "talker", "sha256": hashlib.sha256(KEY.encode()).hexdigest(), "permissions": ["talk:use"]}
    config = {"plugins": {"talk": {}}, "keys": [key]}
    with GatewayHarness(config, env={"PYTHONPATH": str(tmp_path)}) as gateway:
        url = f"ws://127.0.0.1:{gateway.port}/api/v1/talk"
        with pytest.raises(InvalidStatus) as refused:
            connect(url)
        assert refused.value.response.status_code == 401
        with connect(url, additional_headers={"X-API-Key": KEY}) as socket:
            assert socket.recv(5) == "talker", "the services know who calls"
            for text in ("hello", "x" * 200_000):
                socket.send(text)
                assert socket.recv(5) == text[::-1]
            socket.send("bye")
            with pytest.raises(ConnectionClosedOK):
                socket.recv(5)
