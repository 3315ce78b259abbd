"""Gives memory back to the system: a process that replaces its plugins at every reload must not grow with them."""

from __future__ import annotations

import ctypes
import gc
from typing import Any, Final

ARENAS: Final = 2  # of the heap; with one for each thread, what is free in one serves no other
YOUNG: Final = 10_000  # objects made before a collection; Python's 700 are those of a few requests
_M_ARENA_MAX: Final = -8  # glibc, malloc.h


def limit() -> None:
    """Have few arenas, where the C library is glibc, and collect less often. To be called before there are threads."""
    gc.set_threshold(YOUNG, 20, 20)
    mallopt = _of_glibc("mallopt")
    if mallopt is not None:
        mallopt(_M_ARENA_MAX, ARENAS)


def give_back() -> None:
    """Free what nothing refers to any more, in 0.1 s: cycles would wait for long otherwise, and the heap grow."""
    gc.unfreeze()
    gc.collect()
    gc.freeze()
    trim = _of_glibc("malloc_trim")
    if trim is not None:
        trim(0)


def _of_glibc(name: str) -> Any:
    return getattr(ctypes.CDLL(None), name, None)
