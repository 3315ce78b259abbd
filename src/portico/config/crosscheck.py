"""What can only be wrong between sections: names that repeat or don't exist, routes that can't be told apart."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from portico.config.grammar import shape
from portico.config.routes import PolicyKeys, Route
from portico.config.scalars import nearest
from portico.config.settings import Settings
from portico.config.substitute import Finding
from portico.config.walk import indexed


def between_sections(settings: Settings, data: dict[str, Any], upstreams: Iterable[str]) -> Iterator[Finding]:
    """Everything wrong between sections. `upstreams` are all names given, also those of upstreams with mistakes."""
    routes = list(indexed(settings.routes, data.get("routes")))
    keys = list(indexed(settings.keys, data.get("keys")))
    yield from _repeated("routes", "name", [(index, route.name) for index, route in routes])
    yield from _repeated("keys", "id", [(index, key.id) for index, key in keys])
    yield from _repeated("keys", "sha256", [(index, key.sha256.lower()) for index, key in keys])
    known = list(upstreams)
    for index, route in routes:
        if route.upstream not in known:
            names = f"; there are: {', '.join(known[:20])}" if known else "; there are none"
            near = nearest(route.upstream, known)
            yield ("routes", index, "upstream"), f"is not the name of an upstream{near or names}"
    yield from _equal(routes)
    yield from _unshared(settings, routes)


def warnings(settings: Settings) -> list[str]:
    """What is allowed and probably not meant."""
    found = [
        f"upstreams.{name}.tls.verify: false believes every certificate; whoever is in between can read and change all"
        for name, upstream in settings.upstreams.items()
        if not upstream.tls.verify
    ]
    return [*found, *_certificates(settings)]


def _certificates(settings: Settings) -> Iterator[str]:
    """Routes that take client certificates which can't come, or stand for nobody."""
    server = settings.server
    asked = any(tls.client_auth != "none" for tls in (server.tls, *(each.tls for each in server.listen)))
    for route in settings.routes:
        if "certificate" in route.auth and not asked:
            yield f"route {route.name} takes client certificates, and no listener asks for them (tls.client_auth)"
        elif "certificate" in route.auth and not settings.certificates:
            yield f"route {route.name} takes client certificates, and certificates has none: all are refused"


def _repeated(section: str, field: str, values: list[tuple[int, str]]) -> Iterator[Finding]:
    seen: dict[str, int] = {}
    for index, value in values:
        first = seen.setdefault(value, index)
        if first != index:
            yield (section, index, field), f"is the same as {section}[{first}].{field}; each must be its own"


def _equal(routes: list[tuple[int, Route]]) -> Iterator[Finding]:
    """Routes with the same host, path and method: the second would never be asked."""
    seen: dict[tuple[str, tuple[str, ...]], list[tuple[int, frozenset[str]]]] = {}
    for index, route in routes:
        methods = frozenset(route.methods)
        for at, path in enumerate(route.paths):
            clash = None
            for host in route.hosts or [""]:
                others = seen.setdefault((host, shape(path)), [])
                clash = next((i for i, m in others if i != index and (not m or not methods or m & methods)), clash)
                others.append((index, methods))
            if clash is not None:
                message = f"matches the same requests as a path of routes[{clash}]; set them apart by hosts or methods"
                yield ("routes", index, "paths", at), message


def _unshared(settings: Settings, routes: list[tuple[int, Route]]) -> Iterator[Finding]:
    """Limits that every worker would count for itself."""
    workers = settings.server.workers
    if workers == 1 or not settings.state.url.startswith("memory:"):
        return
    named: list[tuple[str, PolicyKeys]] = [(f"routes[{index}].limits", route) for index, route in routes]
    named += [(f"layers.{name}.limits", getattr(settings.layers, name)) for name in type(settings.layers).model_fields]
    limited = [where for where, keys in named if keys.limits]
    if limited:
        shown = ", ".join(limited[:5]) + (" …" if len(limited) > 5 else "")
        message = (
            f"must be 1 while there are limits ({shown}): each worker would count for itself, and together they would "
            "let more through; or give them a store to share: state.url: redis://HOST:PORT/0"
        )
        yield ("server", "workers"), message
