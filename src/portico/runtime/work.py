"""`portico up --role worker`: one process that runs jobs and answers nobody, beside a gateway or on another machine.

It has no supervisor: whatever started it starts it again. SIGTERM and SIGINT let jobs end for some seconds, and put
back what does not.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path
from typing import Any

from portico import contracts
from portico.config.jobs import CELERY
from portico.errors import PorticoError
from portico.kernel.order import WORKER
from portico.runtime import paths, secret
from portico.runtime.build import Builder
from portico.runtime.options import UpOptions
from portico.services.generation import Generation
from portico.telemetry import logs
from portico.telemetry.counts import Counts
from portico.telemetry.tracing.process import Tracing


def main(options: UpOptions) -> int:
    """Run until a signal says otherwise (0), or until the start fails (1)."""
    import uvloop

    passphrase = secret.take(os.environ)
    snapshot = Builder(options).build(1).snapshot
    data_dir = paths.prepare_data_dir(Path(snapshot.data_dir))
    logs.configure(snapshot.log_level, snapshot.log_format, sys.stderr, process=WORKER)
    return uvloop.run(_work(snapshot, contracts.Boot(str(data_dir), passphrase=passphrase)))


async def _work(snapshot: contracts.Snapshot, boot: contracts.Boot) -> int:
    log = logs.get("portico.runtime")
    if snapshot.jobs.executor == CELERY:
        log.error("the worker can't start", cause="jobs.executor is celery: run `portico jobs celery` instead")
        return 1
    loop, ended = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ended.set)
    traces = Tracing(f"{WORKER}-{os.getpid()}")
    await traces.configure(snapshot.tracing)
    try:
        generation = await Generation.begin(snapshot, boot, _nobody, Counts(apart=True), WORKER, traces)
    except PorticoError as error:
        log.error("the worker can't start", cause=str(error))
        return 1
    log.info("the worker runs jobs", pid=os.getpid(), storage=snapshot.storage.url.partition(":")[0])
    try:
        await ended.wait()
    finally:
        await generation.retire(0.0)
        await traces.stop()
    log.info("the worker has stopped", pid=os.getpid())
    return 0


async def _nobody(what: str) -> dict[str, Any]:
    raise TimeoutError(f"a worker has no supervisor to ask for {what}")
