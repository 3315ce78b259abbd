"""Finds plugins by the entry-point group `portico.plugins`; imports only those asked for."""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any, Final

from portico.errors import PluginError
from portico.kernel.plugin import AnyPlugin, BasePlugin, PluginInfo

GROUP: Final = "portico.plugins"
# There unless `enabled: false`.
DEFAULT: Final = (
    "access", "admin", "api_keys", "audit", "auth", "detection", "headers", "jobs", "limits", "outbound", "public",
    "request_id", "scheduler", "state", "storage", "usage", "webhooks",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Found:
    """An installed plugin, not imported yet: `factory` is its class as "module:Class"."""

    id: str
    factory: str
    distribution: str


def available() -> dict[str, Found]:
    """Every installed plugin by id, imported or not. PluginError when two distributions bring the same id."""
    from importlib.metadata import entry_points  # 30 ms that children, who are told the factories, don't pay

    result: dict[str, Found] = {}
    for point in entry_points(group=GROUP):
        found = Found(point.name, point.value.replace(" ", ""), point.dist.name if point.dist else "")
        other = result.setdefault(point.name, found)
        if other.factory != found.factory:
            raise PluginError(
                f"plugin {point.name!r} comes from two distributions: {other.distribution} and {found.distribution}"
            )
    return result


def resolve(ids: Iterable[str], installed: Mapping[str, Found] | None = None) -> list[Found]:
    """The installed plugins with these ids, in the order asked for. PluginError names one that isn't installed."""
    known = available() if installed is None else installed
    result: list[Found] = []
    for name in ids:
        if name not in known:
            close = get_close_matches(name, known, 1)
            hint = f"did you mean {close[0]!r}?" if close else f"installed are {', '.join(sorted(known)) or 'none'}"
            raise PluginError(f"plugin {name!r} is not installed; {hint}")
        result.append(known[name])
    return result


def import_object(path: str, what: str) -> Any:
    """The object that "module:name" names. PluginError, telling the cause, when it can't be imported; `what` says
    whose it is."""
    module, colon, name = path.partition(":")
    if not (module and colon and name):
        raise PluginError(f'{what}: {path!r} is not of the form "module:name"')
    try:
        value: Any = importlib.import_module(module)
        for part in name.split("."):
            value = getattr(value, part)
    except Exception as error:  # an import runs the plugin's own code: anything can come out of it
        raise PluginError(f"{what}: {path} can't be imported: {type(error).__name__}: {error}") from error
    return value


def load(plugin_id: str, factory: str) -> type[AnyPlugin]:
    """The plugin's class, checked: it subclasses BasePlugin and its `info` has the id it was found by."""
    what = f"plugin {plugin_id!r}"
    found = import_object(factory, what)
    if not (isinstance(found, type) and issubclass(found, BasePlugin)):
        raise PluginError(f"{what}: {factory} is not a subclass of portico.kernel.plugin.BasePlugin")
    info = getattr(found, "info", None)
    if not isinstance(info, PluginInfo):
        raise PluginError(f"{what}: {factory} has no `info` of type PluginInfo")
    if info.id != plugin_id:
        raise PluginError(f"{what}: {factory} says that its id is {info.id!r}")
    return found


def instantiate(plugin_id: str, factory: str, config: Mapping[str, Any]) -> AnyPlugin:
    """The plugin, made from its plain, validated configuration (as in `contracts.PluginSpec`); nothing is started."""
    kind = load(plugin_id, factory)
    try:
        return kind(dict(config))
    except Exception as error:  # the plugin's own code
        raise PluginError(f"plugin {plugin_id!r} can't be made: {type(error).__name__}: {error}") from error
