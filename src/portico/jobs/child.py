"""`python -m portico.jobs.child FD PARENT`: calls one function after the other for `portico.jobs.cpu`."""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
from typing import Any, Final

from portico.errors import GiveUp, PorticoError
from portico.kernel.channel import Channel
from portico.kernel.discovery import import_object
from portico.kernel.orphan import die_with_parent

NICENESS: Final = 10  # whoever answers requests comes first


def main() -> int:
    """Until the other end closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    die_with_parent()
    if os.getppid() != int(sys.argv[2]):
        return 1
    os.nice(NICENESS)
    channel = Channel(socket.socket(fileno=int(sys.argv[1])))
    while (call := channel.receive()) is not None:
        channel.send(_answer(call))
    return 0


def _answer(call: dict[str, Any]) -> dict[str, Any]:
    try:
        result = import_object(call["function"], "a job")(call["payload"])
        json.dumps(result, allow_nan=False)
    except Exception as error:  # the handler's own code
        said = str(error) if isinstance(error, PorticoError) else type(error).__name__
        return {"type": "failed", "error": said, "final": isinstance(error, GiveUp)}
    return {"type": "done", "result": result}


if __name__ == "__main__":
    sys.exit(main())
