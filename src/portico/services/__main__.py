"""`python -m portico.services FD`: started by the supervisor, FD is the inherited end of the channel."""

from __future__ import annotations

import gc
import signal
import socket
import sys


def main() -> int:
    """Run until the supervisor says otherwise; the exit code."""
    gc.disable()  # until all is loaded: a tenth of the time that takes
    import uvloop

    from portico.services import heap
    from portico.services.process import run

    heap.limit()

    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C in a terminal is the supervisor's to handle
    return uvloop.run(run(socket.socket(fileno=int(sys.argv[1]))))


if __name__ == "__main__":
    sys.exit(main())
