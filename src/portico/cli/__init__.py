"""The `portico` command."""

from __future__ import annotations

import os
import sys
from typing import NoReturn

from portico.errors import PorticoError

__all__ = ["main"]


def main() -> NoReturn:
    """Run the command line; errors become one sentence, a hint and an exit code (docs/reference/exit-codes.md)."""
    from portico.cli import exits, output
    from portico.cli.app import build
    from portico.runtime import environment

    try:
        environment.refuse(os.environ)
        code = build()(standalone_mode=True)
    except PorticoError as error:
        output.tell(error, "--json" in sys.argv)
        sys.exit(exits.code_of(error))
    except KeyboardInterrupt:
        sys.exit(exits.INTERRUPTED)
    except BrokenPipeError:
        # Whoever read has stopped (`portico routes | head`); Python would complain once more when it flushes at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(exits.FAILURE)
    sys.exit(code if isinstance(code, int) else exits.OK)
