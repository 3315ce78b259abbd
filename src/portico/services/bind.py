"""The private Unix socket that the edge reaches the services by."""

from __future__ import annotations

import os
import socket
import stat
from pathlib import Path
from typing import Final

from portico.errors import PorticoError

BACKLOG: Final = 4096


def bind(path: Path) -> socket.socket:
    """A listening socket at `path`, mode 0600 from its first moment. One that a dead process left is replaced.

    PorticoError when the path is longer than 107 bytes (unix(7)), or is taken by something that is no socket.
    """
    if len(os.fsencode(path)) > 107:
        raise PorticoError(f"a Unix socket's path has at most 107 bytes: {path}")
    try:
        if not stat.S_ISSOCK(path.lstat().st_mode):
            raise PorticoError(f"{path} is there and is not a socket")
        path.unlink()
    except FileNotFoundError:
        pass  # the usual case: the first start
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    before = os.umask(0o177)
    try:
        sock.bind(os.fspath(path))
        sock.listen(BACKLOG)
    except OSError:
        sock.close()
        raise
    finally:
        os.umask(before)
    sock.setblocking(False)
    return sock
