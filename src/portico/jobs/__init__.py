"""Durable background work: a row in the database for each job, run by whichever process claims it, at least once.

What needs the database is loaded when it is first asked for (PEP 562): the supervisor, which keeps none, loads the
plugin of this room as well.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

from portico.errors import GiveUp, JobError, JobRefused, LeaseLost, RetryLater
from portico.jobs.handler import Backoff, Handler, Handlers, Schedule
from portico.kernel.plugin import ProvidesJobs

if TYPE_CHECKING:
    from portico.jobs.job import Job
    from portico.jobs.jobs import Jobs, New
    from portico.jobs.records import Attempt, JobRecord

__all__ = [
    "Attempt",
    "Backoff",
    "GiveUp",
    "Handler",
    "Handlers",
    "Job",
    "JobError",
    "JobRecord",
    "JobRefused",
    "Jobs",
    "LeaseLost",
    "New",
    "ProvidesJobs",
    "RetryLater",
    "Schedule",
]

LATER: Final = {"Attempt": "records", "Job": "job", "JobRecord": "records", "Jobs": "jobs", "New": "jobs"}


def __getattr__(name: str) -> Any:
    if name not in LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{LATER[name]}"), name)
