"""`portico restart`: new processes on the same sockets, and no request lost."""

from __future__ import annotations

import sys
from typing import Final

from portico.cli.options import Config, DataDir, Json

TIMEOUT: Final = 3600.0  # seconds for one step: `server.limits.drain` may be long


def run(config: Config = None, data_dir: DataDir = None, as_json: Json = False) -> None:
    """Replace every process by a new one. They load the code that is installed now."""
    from portico.cli.output import show
    from portico.runtime import control, find

    def tell(step: str) -> None:
        print(step, file=sys.stderr if as_json else sys.stdout, flush=True)

    body = control.ask(find.locate(config, data_dir), "restart", TIMEOUT, tell)
    count = len(body["restarted"])
    show(body, [f"restarted: {count} process{'' if count == 1 else 'es'}"], as_json)
