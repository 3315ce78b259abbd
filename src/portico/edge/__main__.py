"""`python -m portico.edge FD`: one edge process; FD is its end of the supervisor's channel."""

from __future__ import annotations

import signal
import socket
import sys

import uvloop

from portico.errors import PorticoError
from portico.kernel import compiled
from portico.kernel.channel import AsyncChannel
from portico.kernel.orphan import die_with_parent
from portico.telemetry import logs


async def serve(sock: socket.socket) -> int:
    """Boot, serve, drain. 0 when drained, 1 when the start failed."""
    channel = AsyncChannel(sock)
    boot = await channel.receive()
    if boot is None:
        return 1
    from portico import contracts
    from portico.edge.worker import Worker  # after `compiled.install`, and not before a boot message came

    snapshot = contracts.load(boot["snapshot"])
    logs.configure(snapshot.log_level, snapshot.log_format, sys.stderr)
    try:
        await Worker(channel, boot).run()
    except (PorticoError, OSError, ImportError, ValueError, TypeError) as error:
        channel.send({"type": "failed", "error": f"the edge could not start: {error}"})
        return 1
    return 0


def main() -> int:
    """The process's exit code."""
    die_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the supervisor's to handle
    try:
        compiled.install()
    except PorticoError as error:
        print(f"portico: {error} ({error.hint})", file=sys.stderr)
        return 1
    return uvloop.run(serve(socket.socket(fileno=int(sys.argv[1]))))


if __name__ == "__main__":
    sys.exit(main())
