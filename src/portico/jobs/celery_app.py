"""The application of Celery that carries ids of jobs: one task, a queue for each queue of jobs, no results.

Celery is an extra, and loaded when an application is made.
"""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterable
from typing import Any, Final, cast

from portico.errors import JobError

TASK: Final = "portico.job"
PREFIX: Final = "portico."  # before the name of a queue
WAIT: Final = 10.0  # seconds for an answer of the broker
TALKATIVE: Final = ("celery.worker.strategy", "celery.app.trace")  # two lines for each message
VARIABLES: Final = ("CELERY_BROKER_URL", "CELERY_BROKER_READ_URL", "CELERY_BROKER_WRITE_URL")


def make(broker: str) -> Any:
    """A `celery.Celery` that talks to `broker`; JobError when Celery is not installed."""
    try:
        from celery import Celery  # type: ignore[import-untyped]
    except ImportError:
        raise JobError("jobs.executor: celery needs Celery: pip install 'portico[celery]'") from None
    for name in VARIABLES:  # they would win over the configuration
        os.environ.pop(name, None)
    app = Celery("portico", broker=broker, set_as_current=False)
    app.conf.update(
        accept_content=["json"],
        task_serializer="json",
        task_ignore_result=True,
        task_acks_late=True,
        task_create_missing_queues=False,
        task_queues=[],
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        worker_prefetch_multiplier=1,
        worker_hijack_root_logger=False,
        worker_cancel_long_running_tasks_on_connection_loss=False,
        worker_send_task_events=False,
    )
    if broker.startswith("redis"):
        app.conf.broker_transport_options = {"socket_timeout": WAIT, "socket_connect_timeout": WAIT}
    return app


def queue(name: str) -> Any:
    """The queue of Celery for a queue of jobs, bound to nothing: messages name it themselves."""
    from kombu.entity import Exchange, Queue

    named, bound_to = cast(Any, Queue), cast(Any, Exchange)  # they have no types
    return named(PREFIX + name, bound_to(""), routing_key=PREFIX + name, durable=True)


def worker(app: Any, run: Callable[[str], bool], queues: Iterable[str], concurrency: int) -> Any:
    """A worker with so many threads; `start()` serves until `stop_soon`. `run` is given ids; False: put it back."""
    from celery.exceptions import Reject  # type: ignore[import-untyped]

    @app.task(name=TASK)  # type: ignore[untyped-decorator]
    def job(id: str) -> None:  # noqa: A002
        if not run(str(id)):
            raise Reject("it stops", requeue=True)

    app.conf.task_queues = [queue(name) for name in queues]
    for name in TALKATIVE:
        logging.getLogger(name).setLevel(logging.WARNING)
    return app.WorkController(
        app=app, pool_cls="threads", concurrency=concurrency, without_gossip=True, without_mingle=True
    )


def stop_soon() -> None:
    """Have the worker of this process take no more and end, once its threads are free. From a handler of signals."""
    from celery.worker import state  # type: ignore[import-untyped]

    state.should_stop = 0
