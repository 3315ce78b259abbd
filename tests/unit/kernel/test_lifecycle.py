"""Starting and stopping."""

from __future__ import annotations

import asyncio
from typing import Any, ClassVar

import pytest

from portico.errors import PluginError
from portico.kernel.container import ServiceContainer
from portico.kernel.lifecycle import Lifecycle
from portico.kernel.plugin import AnyPlugin, BasePlugin, PluginInfo, PluginType

Config = dict[str, Any]


class Noted(BasePlugin[Config]):
    """Writes down what is done with it; `fails` names the stage at which it raises."""

    async def _note(self, stage: str) -> None:
        self.config["log"].append(f"{self.info.id}.{stage}")
        await asyncio.sleep(0)
        if self.config.get("fails") == f"{self.info.id}.{stage}":
            raise RuntimeError("no room")
        if self.config.get("hangs") == f"{self.info.id}.{stage}":
            await asyncio.sleep(60)

    async def initialize(self, services: ServiceContainer) -> None:
        await self._note("initialize")

    async def start(self) -> None:
        await self._note("start")

    async def stop(self) -> None:
        await self._note("stop")


class First(Noted):
    info: ClassVar = PluginInfo("first", PluginType.INFRASTRUCTURE)


class Second(Noted):
    info: ClassVar = PluginInfo("second", PluginType.SECURITY, requires=("first",))


class Third(Noted):
    info: ClassVar = PluginInfo("third", PluginType.BUSINESS)


def make(**config: Any) -> tuple[list[str], ServiceContainer, Lifecycle]:
    log: list[str] = []
    plugins: list[AnyPlugin] = [kind({**config, "log": log}) for kind in (Third, First, Second)]
    container = ServiceContainer()
    return log, container, Lifecycle(plugins, container)


UP = ["first.initialize", "second.initialize", "third.initialize", "first.start", "second.start", "third.start"]
DOWN = ["third.stop", "second.stop", "first.stop"]


def test_in_order_and_back_and_stopping_twice_does_nothing() -> None:
    async def run() -> None:
        log, container, lifecycle = make()
        assert log == []  # nothing happens before start
        await lifecycle.start()
        assert log == UP
        with pytest.raises(Exception, match="too late"):
            container.provide(int, 1)
        await lifecycle.stop()
        await lifecycle.stop()
        assert log == UP + DOWN

    asyncio.run(run())


@pytest.mark.parametrize(
    ("fails", "begun", "stopped"),
    [
        ("first.initialize", 1, DOWN[2:]),
        ("second.initialize", 2, DOWN[1:]),
        ("third.initialize", 3, DOWN),
        ("first.start", 4, DOWN),
        ("second.start", 5, DOWN),
        ("third.start", 6, DOWN),
    ],
)
def test_a_failing_plugin_stops_the_start_and_what_had_begun_is_stopped_in_reverse(
    fails: str, begun: int, stopped: list[str]
) -> None:
    async def run() -> None:
        log, _, lifecycle = make(fails=fails)
        name, stage = fails.split(".")
        with pytest.raises(PluginError) as caught:
            await lifecycle.start()
        assert str(caught.value) == f"plugin {name!r} failed to {stage}: RuntimeError: no room"
        assert isinstance(caught.value.__cause__, RuntimeError)
        assert log == UP[:begun] + stopped
        await lifecycle.stop()
        assert log == UP[:begun] + stopped

    asyncio.run(run())


def test_one_that_fails_to_stop_keeps_no_other_from_it() -> None:
    async def run() -> None:
        log, _, lifecycle = make(fails="second.stop")
        await lifecycle.start()
        with pytest.raises(PluginError, match=r"^plugin 'second' failed to stop: RuntimeError: no room$"):
            await lifecycle.stop()
        assert log == UP + DOWN

    asyncio.run(run())


def test_a_failing_stop_after_a_failing_start_is_noted_and_the_first_cause_stays() -> None:
    class Broken(First):
        async def stop(self) -> None:
            raise OSError("stuck")

    async def run() -> None:
        log: list[str] = []
        lifecycle = Lifecycle([Broken({"log": log, "fails": "first.start"})], ServiceContainer())
        with pytest.raises(PluginError, match="failed to start") as caught:
            await lifecycle.start()
        assert caught.value.__notes__ == ["plugin 'first' failed to stop: OSError: stuck"]

    asyncio.run(run())


def test_a_cancelled_start_is_undone_too() -> None:
    async def run() -> None:
        log, _, lifecycle = make(hangs="second.start")
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(lifecycle.start(), 0.05)
        assert log == UP[:5] + DOWN

    asyncio.run(run())
