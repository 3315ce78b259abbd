"""Why a request takes no route that comes before its own. Runs outside the edge, on what a snapshot says."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

from portico.contracts import Route
from portico.edge.routes import Entry, Table, methods_of, order_key

MOST: Final = 10  # routes that are told of: those that came closest


class Pattern:
    """One host and path of one route, "" standing for any host."""

    def __init__(self, route: str, host: str, path: str, methods: tuple[str, ...], index: int) -> None:
        self.route = route
        self.host = host
        self.path = path
        self.methods = methods
        self.index = index


class Asked:
    """What a request is matched by; answers are remembered, for patterns share hosts and paths."""

    def __init__(self, host: str, path: str, method: str) -> None:
        self.host = host
        self.path = path
        self.method = method
        self.segments = path.split("/")
        self._fits: dict[tuple[str, str, tuple[str, ...]], bool] = {}

    def fits(self, host: str, path: str, methods: tuple[str, ...]) -> bool:
        """Whether a table with this pattern alone finds it."""
        key = host, path, methods
        known = self._fits.get(key)
        if known is None:
            table = Table([Entry((host,) if host else (), (path,), methods, 0, self)])
            found = table.find(*(text.encode("latin-1") for text in (self.host, self.path, self.method)))
            known = self._fits[key] = found.value is self
        return known

    def objection(self, pattern: Pattern) -> tuple[int, str]:
        """How close the pattern came (0: not at all), and why it is not the request's; "" when it is."""
        here = self.fits(pattern.host, "/*", ()) if pattern.host else True
        there = self.fits("", pattern.path, ())
        if not there:
            shared = len(list(_common(pattern.path.split("/")[1:], self.segments[1:])))
            return shared if here else 0, f"its path is {pattern.path}"
        if not here:
            return 1000, f"its host is {pattern.host}"
        if not self.fits("", "/*", pattern.methods):
            heads = ("HEAD",) if "GET" in pattern.methods else ()
            return 2000, f"it takes {', '.join(sorted({*pattern.methods, *heads}))}"
        return 0, ""


def patterns(routes: Iterable[Route]) -> list[Pattern]:
    """Every host and path of the routes, in the order in which they are tried."""
    listed = [
        Pattern(route.name, host, path, methods_of(route), index)
        for index, route in enumerate(routes)
        for host in route.hosts or ("",)
        for path in route.paths
    ]
    return sorted(listed, key=lambda each: order_key(each.host, each.path, each.index))


def passed_over(ordered: Iterable[Pattern], asked: Asked) -> dict[str, Any]:
    """{"pattern": the one that takes the request or None, "passed_over": those before it that came closest, "more"}.

    Each of those before it has its `why`; `more` counts those that are left out.
    """
    taken: dict[str, Any] | None = None
    before: list[tuple[int, int, dict[str, Any]]] = []
    for place, pattern in enumerate(ordered):
        closeness, why = asked.objection(pattern)
        if not why:
            taken = {"host": pattern.host, "path": pattern.path, "methods": list(pattern.methods)}
            break
        told = {"route": pattern.route, "host": pattern.host, "path": pattern.path, "why": why}
        before.append((-closeness, place, told))
    closest = sorted(before, key=lambda each: each[:2])[:MOST]
    told_of = [told for far, _, told in sorted(closest, key=lambda each: each[1]) if far]
    return {"pattern": taken, "passed_over": told_of, "more": len(before) - len(told_of)}


def _common(pattern: list[str], segments: list[str]) -> Iterable[str]:
    for one, other in zip(pattern, segments, strict=False):
        if one != other:
            return
        yield one
