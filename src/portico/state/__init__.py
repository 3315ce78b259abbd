"""Shared state: values with a time to live, counters, scripts, messages; in memory or in Redis. And a cache on it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from portico.state.store import Script, Store, StoreHealth, Subscription, Table

if TYPE_CHECKING:
    from portico import contracts

__all__ = ["Script", "Store", "StoreHealth", "Subscription", "Table", "make"]


def make(spec: contracts.State) -> Store:
    """The store that `state.url` names, not started yet."""
    if spec.url.startswith("memory://"):
        from portico.state.memory import Memory

        return Memory()
    from portico.state.redis import Redis

    return Redis(spec)
