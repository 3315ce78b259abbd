"""Keeps the cores from sleeping while latency is measured.

A core of a virtual machine that has nothing to do is halted, and waking it takes its host from 0.05 to over 1 ms: a
request that crosses five processes would measure that. So a loop with the lowest of all priorities (SCHED_IDLE) runs on
each core; whatever else wants the core has it at once.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Iterator
from typing import Final

LOOP: Final = """
import os, sys
os.sched_setscheduler(0, os.SCHED_IDLE, os.sched_param(0))
parent = int(sys.argv[1])
while os.getppid() == parent:
    for _ in range(100_000):
        pass
"""


@contextlib.contextmanager
def awake() -> Iterator[None]:
    """While this is open no core sleeps. The loops end with this process, however that ends."""
    with contextlib.ExitStack() as stack:
        for core in sorted(os.sched_getaffinity(0)):
            command = ["taskset", "-c", str(core), sys.executable, "-S", "-c", LOOP, str(os.getpid())]
            process = stack.enter_context(subprocess.Popen(command))
            stack.callback(process.kill)
        yield
