"""One FastAPI application out of the routers that plugins bring."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

from fastapi import APIRouter, FastAPI
from fastapi.dependencies import models
from starlette.types import Scope

import portico
from portico.contracts import Mount
from portico.errors import PluginError
from portico.kernel.plugin import AnyPlugin, ProvidesRouter
from portico.services import document, problems
from portico.services.directory import Directory
from portico.services.frame import INTERNAL, Frame, Proxies
from portico.services.tracing import Traced, router
from portico.telemetry.tracing.process import Tracing


@runtime_checkable
class ProvidesInternal(Protocol):
    """Answers the edge under /_portico/, where no listener leads and `Frame` asks for the edge's proof."""

    def internal(self) -> APIRouter:
        """The router, asked for once, after `start`; every path begins with /_portico/."""
        ...


@runtime_checkable
class SeesRefusals(Protocol):
    """Is told of every answer from 400 on, after it was sent."""

    def refused(self, scope: Scope, status: int) -> None:
        """`scope` is as the application has left it: with its route, and in its state the principal and the code."""
        ...


def build(plugins: Sequence[AnyPlugin], key: bytes, proxies: Proxies = tuple, tracing: Tracing | None = None) -> Frame:
    """The application of the started plugins; `key` is the one the edge signs principals with (32 bytes).

    `proxies` answers the networks that are trusted to tell a client's address.

    The documentation pages are routes of the `public` plugin: FastAPI's own would load their scripts from elsewhere.
    PluginError names a plugin whose router can't be made, or has a path that its mounts don't declare.
    """
    app = FastAPI(
        title="Portico",
        version=portico.__version__,
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        redirect_slashes=False,
    )
    problems.install(app)
    mounts: list[Mount] = []
    for plugin in plugins:
        if isinstance(plugin, ProvidesRouter):
            _include(app, plugin, plugin.info.id)
            mounts += plugin.mounts
        if isinstance(plugin, ProvidesInternal):
            _include_internal(app, plugin, plugin.info.id)
    _describe(app, mounts)
    if tracing is not None:
        app.include_router(router(tracing), include_in_schema=False)
    app.router.middleware_stack = Directory(app)
    handle = app.build_middleware_stack()  # what calling `app` comes to, but for FastAPI's own telemetry
    seeing = [plugin.refused for plugin in plugins if isinstance(plugin, SeesRefusals)]

    def refused(scope: Scope, status: int) -> None:
        for tell in seeing:
            tell(scope, status)

    return Frame(handle if tracing is None else Traced(handle, tracing), key, proxies, refused)


def forget() -> None:
    """Drop what FastAPI remembers of callables: its caches would keep an application that a reload has replaced."""
    for cached in vars(models).values():
        clear = getattr(cached, "cache_clear", None)
        if clear is not None:
            clear()


def _include(app: FastAPI, plugin: ProvidesRouter, name: str) -> None:
    declared = {(mount.method, mount.path) for mount in plugin.mounts}
    try:
        router = plugin.router()
        app.router.routes.extend(router.routes)  # `include_router` would make each a router that is asked by itself
    except Exception as error:  # the plugin's own code
        raise PluginError(f"plugin {name!r} failed to make its router: {type(error).__name__}: {error}") from error
    for route in router.routes:
        path = getattr(route, "path", "")
        # A WebSocket route has no methods: the request that upgrades is a GET (RFC 6455 4.1).
        for method in sorted(getattr(route, "methods", None) or ("GET",)):
            if (method, path) not in declared and not (method == "HEAD" and ("GET", path) in declared):
                raise PluginError(f"plugin {name!r} has a route {method} {path} that its `mounts` don't declare")


def _include_internal(app: FastAPI, plugin: ProvidesInternal, name: str) -> None:
    try:
        router = plugin.internal()
    except Exception as error:  # the plugin's own code
        cause = f"{type(error).__name__}: {error}"
        raise PluginError(f"plugin {name!r} failed to make its internal router: {cause}") from error
    for route in router.routes:
        path = str(getattr(route, "path", ""))
        if not path.startswith(INTERNAL + "/"):
            raise PluginError(f"plugin {name!r} has an internal route {path} that is not below {INTERNAL}/")
        route.include_in_schema = False  # type: ignore[attr-defined]
    app.router.routes.extend(router.routes)


def _describe(app: FastAPI, mounts: Sequence[Mount]) -> None:
    """Let the application's OpenAPI document tell what the edge does with each path as well; made at the first call."""
    plain = app.openapi

    def openapi() -> dict[str, Any]:
        made = app.openapi_schema is not None
        found = plain()
        return found if made else document.complete(found, mounts)

    app.openapi = openapi  # type: ignore[method-assign]
