"""Starts plugins in order and stops them in reverse, whatever happened in between."""

from __future__ import annotations

from collections.abc import Awaitable, Iterable

from portico.errors import PluginError, PorticoError
from portico.kernel.container import ServiceContainer
from portico.kernel.order import arrange
from portico.kernel.plugin import AnyPlugin


class Lifecycle:
    """The plugins of one process: initialize all, seal the container, start all; later stop all."""

    def __init__(self, plugins: Iterable[AnyPlugin], services: ServiceContainer) -> None:
        self.plugins = arrange(plugins)
        self.services = services
        self._begun: list[AnyPlugin] = []  # initialize was called; each is stopped once

    async def start(self) -> None:
        """Initialize and start every plugin.

        PluginError names the plugin that failed and the cause, after everything begun (that one too) was stopped.
        """
        try:
            for plugin in self.plugins:
                self._begun.append(plugin)
                await _run(plugin, "initialize", plugin.initialize(self.services))
            self.services.seal()
            for plugin in self.plugins:
                await _run(plugin, "start", plugin.start())
        except BaseException as error:  # also when cancelled: what was opened is closed
            for failure in await self._stop_all():
                error.add_note(str(failure))
            raise

    async def stop(self) -> None:
        """Stop in reverse what was begun, each once; a second call does nothing.

        One that fails doesn't keep the others from stopping; PluginError then names all that failed.
        """
        failures = await self._stop_all()
        if failures:
            raise PluginError("; ".join(str(failure) for failure in failures)) from failures[0]

    async def _stop_all(self) -> list[PluginError]:
        failures: list[PluginError] = []
        while self._begun:
            plugin = self._begun.pop()
            try:
                await _run(plugin, "stop", plugin.stop())
            except PluginError as failure:
                failures.append(failure)
        return failures


async def _run(plugin: AnyPlugin, stage: str, step: Awaitable[None]) -> None:
    try:
        await step
    except Exception as error:
        text, kind = str(error), type(error).__name__
        cause = text if isinstance(error, PorticoError) else f"{kind}: {text}" if text else kind
        raise PluginError(f"plugin {plugin.info.id!r} failed to {stage}: {cause}") from error
