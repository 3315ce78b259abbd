"""The order in which plugins start, and the processes in which they do."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import get_close_matches
from heapq import heapify, heappop, heappush
from typing import Final

from portico.errors import PluginError
from portico.kernel.plugin import (
    AnyPlugin,
    PluginInfo,
    ProvidesJobs,
    ProvidesPolicy,
    ProvidesRouter,
    WorksInBackground,
)

EDGE: Final = "edge"
SERVICES: Final = "services"
WORKER: Final = "worker"  # runs jobs, and answers nobody


def start_order(infos: Iterable[PluginInfo]) -> list[str]:
    """The ids in the order of start-up: by band, then what is required first, then `order`, then `id`.

    PluginError names what is there twice, missing, required from a higher band, or requires itself in a circle.
    """
    known: dict[str, PluginInfo] = {}
    for info in infos:
        if info.id in known:
            raise PluginError(f"plugin {info.id!r} is there twice")
        known[info.id] = info
    before = {info.id: _before(info, known) for info in known.values()}
    return _sort(known, before)


def _before(info: PluginInfo, known: dict[str, PluginInfo]) -> set[str]:
    """The ids that start before `info`, all of them present."""
    for name in info.requires:
        if name not in known:
            close = get_close_matches(name, known, 1)
            hint = f" (did it mean {close[0]!r}?)" if close else ""
            raise PluginError(f"plugin {info.id!r} requires {name!r}, which is not among the plugins to start{hint}")
    names = {*info.requires, *(name for name in info.after if name in known)}
    for name in sorted(names):
        other = known[name]
        if other.type > info.type:
            raise PluginError(
                f"plugin {info.id!r} ({info.type.name}) can't start after {name!r} ({other.type.name}), a higher band"
            )
    return names


def _sort(known: dict[str, PluginInfo], before: dict[str, set[str]]) -> list[str]:
    """Kahn's algorithm with a heap; nothing waits for a higher band, so the lower ones are all done first."""
    followers: dict[str, list[str]] = {name: [] for name in known}
    waiting = {name: len(names) for name, names in before.items()}
    for name, names in before.items():
        for each in names:
            followers[each].append(name)
    ready = [_key(known[name]) for name, count in waiting.items() if not count]
    heapify(ready)
    result: list[str] = []
    while ready:
        name = heappop(ready)[2]
        result.append(name)
        for follower in followers[name]:
            waiting[follower] -= 1
            if not waiting[follower]:
                heappush(ready, _key(known[follower]))
    if len(result) < len(known):
        circle = _circle({name: before[name] for name in known if waiting[name]})
        raise PluginError(f"plugins wait for one another: {' → '.join(circle)}")
    return result


def _key(info: PluginInfo) -> tuple[int, int, str]:
    return (int(info.type), info.order, info.id)


def _circle(before: dict[str, set[str]]) -> list[str]:
    """One circle among plugins that all wait for another of them: its ids, the first again at the end."""
    name = min(before)
    seen: list[str] = []
    while name not in seen:
        seen.append(name)
        name = min(each for each in before[name] if each in before)
    return [*seen[seen.index(name) :], name]


def arrange(plugins: Iterable[AnyPlugin]) -> list[AnyPlugin]:
    """The plugins in the order of start-up."""
    found = list(plugins)
    by_id = {plugin.info.id: plugin for plugin in found}
    return [by_id[name] for name in start_order(plugin.info for plugin in found)]


def roles(plugins: Iterable[AnyPlugin]) -> dict[str, frozenset[str]]:
    """Plugin id → the processes that start it: those whose capabilities it has, and those of whatever requires it."""
    result: dict[str, frozenset[str]] = {}
    for plugin in reversed(arrange(plugins)):
        own = result.get(plugin.info.id, frozenset())
        if isinstance(plugin, ProvidesPolicy):
            own |= {EDGE}
        if isinstance(plugin, ProvidesRouter | WorksInBackground):
            own |= {SERVICES}
        if isinstance(plugin, ProvidesJobs):
            own |= {SERVICES, WORKER}
        result[plugin.info.id] = own
        for name in plugin.info.requires:
            result[name] = result.get(name, frozenset()) | own
    return result


def for_role(plugins: Iterable[AnyPlugin], role: str) -> list[AnyPlugin]:
    """The plugins that a process of this role starts, in order."""
    arranged = arrange(plugins)
    where = roles(arranged)
    return [plugin for plugin in arranged if role in where[plugin.info.id]]
