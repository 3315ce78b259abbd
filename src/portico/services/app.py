"""One FastAPI application out of the routers that plugins bring."""

from __future__ import annotations

from collections.abc import Sequence

from fastapi import FastAPI
from fastapi.dependencies import models

import portico
from portico.errors import PluginError
from portico.kernel.plugin import AnyPlugin, ProvidesRouter
from portico.services import problems
from portico.services.frame import Frame


def build(plugins: Sequence[AnyPlugin], key: bytes) -> Frame:
    """The application of the started plugins; `key` is the one the edge signs principals with (32 bytes).

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
    for plugin in plugins:
        if isinstance(plugin, ProvidesRouter):
            _include(app, plugin, plugin.info.id)
    return Frame(app, key)


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
        app.include_router(router)
    except Exception as error:  # the plugin's own code
        raise PluginError(f"plugin {name!r} failed to make its router: {type(error).__name__}: {error}") from error
    for route in router.routes:
        path = getattr(route, "path", "")
        # A WebSocket route has no methods: the request that upgrades is a GET (RFC 6455 4.1).
        for method in sorted(getattr(route, "methods", None) or ("GET",)):
            if (method, path) not in declared and not (method == "HEAD" and ("GET", path) in declared):
                raise PluginError(f"plugin {name!r} has a route {method} {path} that its `mounts` don't declare")
