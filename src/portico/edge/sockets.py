"""Ends a connection so that the other side can't take it for a good end."""

from __future__ import annotations

import socket
import struct
from typing import Any, Final

AT_ONCE: Final = struct.pack("ii", 1, 0)  # SO_LINGER on, 0 s: close sends a reset and drops what is unsent


def reset(transport: Any) -> None:
    """Close with a TCP reset: unsent bytes are dropped; who reads a body until close sees an error, not an end."""
    handle = transport.get_extra_info("socket")
    if handle is not None and not transport.is_closing() and handle.family != socket.AF_UNIX:
        # The loop's own handle offers no socket options; a duplicate is the same connection.
        with socket.fromfd(handle.fileno(), handle.family, socket.SOCK_STREAM) as duplicate:
            duplicate.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, AT_ONCE)
    transport.abort()
