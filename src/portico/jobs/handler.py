"""What runs a kind of job: the handlers that plugins bring, and how often and when one tries again."""

from __future__ import annotations

import random
import re
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from portico.errors import PluginError

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncSession

    from portico.jobs.claims import Claim
    from portico.jobs.job import Job

NAME: Final = re.compile(r"[a-z][a-z0-9_]*(\.[a-z0-9_]+)*", re.ASCII)
LONGEST: Final = 64  # characters of a kind or queue
DEFAULT: Final = "default"

Result = dict[str, Any] | None


@dataclass(frozen=True, slots=True)
class Backoff:
    """Seconds from a failed attempt to the next, one for each: `len(steps) + 1` attempts in all.

    `jitter` is the share by which a step may come out longer, so that what failed together does not return together.
    """

    steps: tuple[float, ...] = (5, 30, 120, 600, 3600)
    jitter: float = 0.2

    @property
    def attempts(self) -> int:
        """How often a job is tried."""
        return len(self.steps) + 1

    def after(self, attempt: int) -> float | None:
        """Seconds to wait behind the failed `attempt` (1 is the first); None: it was the last."""
        if attempt > len(self.steps):
            return None
        return self.steps[attempt - 1] * (1 + random.uniform(0, self.jitter))


@dataclass(frozen=True, slots=True)
class Handler:
    """Runs the jobs of one `kind`, such as `webhooks.deliver`.

    `run` is a coroutine function of the `Job`; what it answers is the job's result. Raising is a failed attempt:
    `RetryLater` and `GiveUp` say what follows, anything else is tried again by `backoff`. With `cpu` it is
    "module:function" instead: a plain function of the payload, run in a process of its own, so that the event loop
    never waits; its answer must be JSON. An attempt ends after `timeout` seconds.

    A job may be run more than once: when its worker dies, or is taken for dead. `Job.effect` is for what must not be.

    `accepts` opens the kind to schedules of users: it gets their payload and answers the one to keep, or raises
    ValueError. None: only code enqueues it. `permission` is then asked of whoever makes such a schedule.

    `given_up` is called with the claim and the error of a job that has failed for good, in the transaction that says
    so: what it writes is there exactly when the job is a dead letter.
    """

    kind: str
    run: Callable[[Job], Awaitable[Result]] | str
    queue: str = DEFAULT
    backoff: Backoff = Backoff()
    timeout: float = 300.0
    cpu: bool = False
    accepts: Callable[[dict[str, Any]], dict[str, Any]] | None = None
    permission: str = ""
    summary: str = ""
    given_up: Callable[[AsyncSession, Claim, str], Awaitable[None]] | None = None


@dataclass(frozen=True, slots=True)
class Schedule:
    """A schedule that a plugin brings: made when it is missing, kept as it is described here.

    Either `cron` (five fields, or six with seconds before them) in the time zone `zone`, or `every` so many seconds.
    """

    name: str
    kind: str
    payload: dict[str, Any]
    cron: str = ""
    zone: str = "UTC"
    every: float = 0.0
    jitter: float = 0.0
    missed: str = "once"


class Handlers:
    """The handlers of this process by kind. Filled once all plugins have started, before the first job runs."""

    def __init__(self) -> None:
        self._handlers: dict[str, Handler] = {}

    def add(self, handlers: Iterable[Handler], whose: str) -> None:
        """Take the handlers of the plugin `whose`; PluginError when a kind is taken, or can't be."""
        for handler in handlers:
            if not (NAME.fullmatch(handler.kind) and NAME.fullmatch(handler.queue)):
                raise PluginError(f"plugin {whose!r}: {handler.kind!r} or {handler.queue!r} is no name for jobs")
            if max(len(handler.kind), len(handler.queue)) > LONGEST:
                raise PluginError(f"plugin {whose!r}: the name of {handler.kind} is longer than {LONGEST}")
            if handler.cpu is not isinstance(handler.run, str):
                raise PluginError(f"plugin {whose!r}: `run` of {handler.kind} is not what `cpu` says")
            if handler.kind in self._handlers:
                raise PluginError(f"plugin {whose!r}: jobs of the kind {handler.kind} have a handler already")
            self._handlers[handler.kind] = handler

    def get(self, kind: str) -> Handler | None:
        """The handler of a kind."""
        return self._handlers.get(kind)

    def queue(self, kind: str) -> str:
        """The queue that jobs of a kind go to."""
        handler = self._handlers.get(kind)
        return handler.queue if handler is not None else DEFAULT

    def queues(self) -> set[str]:
        """Every queue that a handler names."""
        return {DEFAULT, *(handler.queue for handler in self._handlers.values())}

    def schedulable(self) -> list[Handler]:
        """Those that users may make schedules of, by kind."""
        return [handler for _, handler in sorted(self._handlers.items()) if handler.accepts is not None]
