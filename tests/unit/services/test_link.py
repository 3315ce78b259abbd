"""What the supervisor asks is answered, also when the answer can't be written."""

from __future__ import annotations

import asyncio
import socket
from typing import Any

from portico.kernel.channel import AsyncChannel, Channel, Message
from portico.services.link import Link


def test_a_command_whose_answer_is_no_json_is_answered_all_the_same() -> None:
    ours, theirs = socket.socketpair()

    async def odd(_: Any) -> dict[str, Any]:
        return {"result": object()}

    async def scene() -> Message | None:
        link = Link(AsyncChannel(theirs))
        link.do = odd
        listening = asyncio.create_task(link.listen())
        supervisor = Channel(ours)
        supervisor.send({"type": "ask", "id": 1, "what": "call", "call": {}})
        answer = await asyncio.wait_for(asyncio.to_thread(supervisor.receive), 5.0)
        supervisor.close()
        await asyncio.wait_for(listening, 5.0)
        return answer

    assert asyncio.run(scene()) == {
        "type": "answer",
        "id": 1,
        "body": {"error": "the command failed; the log of the gateway tells why"},
    }
