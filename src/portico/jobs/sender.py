"""Sends ids of jobs to Celery's broker, from a thread of its own: Celery's client is no coroutine."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any, Final

from portico.errors import JobError
from portico.jobs import celery_app
from portico.jobs.celery_app import WAIT

MOST: Final = 1000  # messages of one queue at the broker


class Sender:
    """One connection, made when it is needed, and again after it broke."""

    def __init__(self, broker: str) -> None:
        self._broker = broker
        self._app = celery_app.make(broker)
        self._bounds = {"read_timeout": WAIT, "write_timeout": WAIT} if broker.startswith("amqp") else {}
        self._connection: Any = None
        self._thread = ThreadPoolExecutor(1, "portico-celery")

    async def send(self, queue: str, jobs: Sequence[str]) -> int:
        """Send the first of `jobs`, so that the broker has at most MOST messages of the queue; how many were sent.

        JobError when the broker can't be reached: some may have been sent.
        """
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._send, queue, jobs)

    def close(self) -> None:
        """Let go of the connection once nothing is being sent; does not wait."""
        self._thread.submit(self._drop)
        self._thread.shutdown(wait=False)

    def _send(self, queue: str, jobs: Sequence[str]) -> int:
        try:
            if self._connection is None:
                self._connection = self._app.connection_for_write(url=self._broker, transport_options=self._bounds)
                self._connection.ensure_connection(max_retries=1, timeout=WAIT)
            channel = self._connection.default_channel
            target = celery_app.queue(queue)(channel)
            room = max(0, MOST - int(target.queue_declare().message_count))
            producer = self._app.amqp.Producer(channel, auto_declare=False)
            for job in jobs[:room]:
                self._app.send_task(celery_app.TASK, (job,), queue=target, producer=producer, retry=False)
        except Exception as error:  # of whatever client the broker needs
            self._drop()
            raise JobError(f"the broker of jobs can't be reached ({type(error).__name__})") from None
        return min(room, len(jobs))

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(Exception):  # it is broken, or not
                connection.release()
