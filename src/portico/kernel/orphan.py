"""What becomes of a process whose parent is killed."""

from __future__ import annotations

import ctypes
import signal
from typing import Final

PR_SET_PDEATHSIG: Final = 1  # prctl(2)


def die_with_parent() -> None:
    """Be killed when the parent dies, also while hung or stopped: a process that listens would keep the address taken.

    Linux only; elsewhere the closed channel alone ends the process.
    """
    prctl = getattr(ctypes.CDLL(None), "prctl", None)
    if prctl is not None:
        prctl(PR_SET_PDEATHSIG, int(signal.SIGKILL), 0, 0, 0)
