"""Usage: taken in, asked for, and let go of."""

from portico.storage.usage.queries import Usage
from portico.storage.usage.ranks import By, Ranks
from portico.storage.usage.recent import Recent
from portico.storage.usage.records import Counts, Ranked, Ranking, Request, Verdicts
from portico.storage.usage.retention import Retention
from portico.storage.usage.verdicts import Judgements

__all__ = [
    "By",
    "Counts",
    "Judgements",
    "Ranked",
    "Ranking",
    "Ranks",
    "Recent",
    "Request",
    "Retention",
    "Usage",
    "Verdicts",
]
