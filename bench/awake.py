"""Keeps the cores from sleeping while latency is measured.

A core of a virtual machine that has nothing to do is halted, and waking it takes its host up to a millisecond: a
request that crosses five processes would measure that. While the file is open with a latency of 0 in it, idle cores
poll instead (Linux, Documentation/power/pm_qos_interface).
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Final

FILE: Final = Path("/dev/cpu_dma_latency")
NOW: Final = (0).to_bytes(4, "little")  # microseconds that a core may take to wake


@contextlib.contextmanager
def awake() -> Iterator[None]:
    """While this is open no core sleeps, where this user may ask for it."""
    try:
        file = FILE.open("wb", buffering=0)
    except OSError:  # not Linux, or not root
        yield
        return
    with file:
        file.write(NOW)
        yield
