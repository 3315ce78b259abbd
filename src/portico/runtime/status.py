"""What `portico status` shows."""

from __future__ import annotations

import os
import time
from datetime import UTC, datetime
from typing import Any, Final

from portico import __version__
from portico.kernel import compiled
from portico.runtime.child import READY, Child
from portico.runtime.gather import Answers

LOOKED: Final = 1.0  # seconds for which a look at the hot modules holds
PATIENCE: Final = 0.5  # seconds that a services process, which waits for one, lets the edges take


def process_status(child: Child, now: float) -> dict[str, Any]:
    """One process: pid 0 while none runs; age and lag (99th percentile) in seconds, rss in bytes."""
    report = child.report
    return {
        "role": child.role,
        "index": child.index,
        "pid": child.pid,
        "state": child.state,
        "age": round(now - child.started, 3) if child.pid else 0.0,
        "restarts": child.restarts,
        "version": child.sent_version,
        "rss": report.get("rss", 0),
        "connections": report.get("connections", 0),
        "in_flight": report.get("in_flight", 0),
        "requests": report.get("requests", 0),
        "upstreams": report.get("upstreams", []),
        "lag": report.get("lag", 0.0),
        "gc": report.get("gc"),
    }


def dependencies(services: list[Child]) -> dict[str, dict[str, Any]]:
    """{"dependencies": name → state}, of each the worst that a services process has seen."""
    found: dict[str, Any] = {}
    for child in services:
        for name, state in child.report.get("dependencies", {}).items():
            if name not in found or found[name]["status"] == "ok":
                found[name] = state
    return {"dependencies": found}


def overall(children: list[Child], was_ready: bool, stopping: bool) -> str:
    """starting → ready ⇄ degraded → draining."""
    if stopping:
        return "draining"
    places = {child.name for child in children}
    if places and places == {child.name for child in children if child.state == READY}:
        return "ready"
    return "degraded" if was_ready else "starting"


class Hot:
    """Whether hot modules are compiled, and why (not). A look reads all their sources: it holds for a second."""

    def __init__(self) -> None:
        self._seen = (False, "")
        self._until = 0.0

    def look(self) -> tuple[bool, str]:
        """As `compiled.status`."""
        now = time.monotonic()
        if now >= self._until:
            self._seen = compiled.status()
            self._until = now + LOOKED
        return self._seen


def about(started: float, hot: Hot) -> dict[str, Any]:
    """This gateway: its version, process and age; `started` in seconds since 1970."""
    is_compiled, reason = hot.look()
    return {
        "version": __version__,
        "pid": os.getpid(),
        "started": timestamp(started),
        "uptime": _uptime(started),
        "compiled": is_compiled,
        "compiled_reason": reason,
    }


def brief(started: float, edges: Answers) -> dict[str, Any]:
    """The gateway in a few words, for the services; `in_flight` are the requests of the edges that answered."""
    in_flight = sum(report.get("in_flight", 0) for _, report in edges)
    return {"version": __version__, "uptime": _uptime(started), "in_flight": in_flight}


def _uptime(started: float) -> float:
    return round(time.time() - started, 3)


def timestamp(seconds: float) -> str:
    """RFC 3339 in UTC."""
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
