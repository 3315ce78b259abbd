"""Dependencies that plugins tell, one or several each."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any, ClassVar

from portico.errors import StorageError
from portico.kernel import BasePlugin, Health, PluginInfo, PluginType
from portico.services.health import Dependencies


class One(BasePlugin[dict[str, Any]]):
    info: ClassVar = PluginInfo("one", PluginType.BUSINESS)

    async def health(self) -> Health:
        raise StorageError("it is away")


class Several(BasePlugin[dict[str, Any]]):
    info: ClassVar = PluginInfo("several", PluginType.BUSINESS)
    states: ClassVar[Mapping[str, Health]] = {
        "a": Health(True, "well", 0.002, "it was not"),
        "b": Health(False, "ill", None, "no answer"),
    }

    async def dependencies(self) -> Mapping[str, Health]:
        return self.states


class Failing(Several):
    info: ClassVar = PluginInfo("failing", PluginType.BUSINESS)

    async def dependencies(self) -> Mapping[str, Health]:
        raise RuntimeError("a defect")


def test_a_plugin_may_tell_several_and_a_defect_of_one_hides_no_other() -> None:
    found = asyncio.run(Dependencies().check([One({}), Several({}), Failing({})]))
    assert list(found) == ["one", "a", "b"]
    assert (found["one"]["status"], found["one"]["last_error"]) == ("unknown", "it is away")
    assert found["a"] == {"status": "ok", "detail": "well", "latency_ms": 2.0, "last_error": "it was not"}
    assert found["b"] == {"status": "down", "detail": "ill", "latency_ms": 0.0, "last_error": "no answer"}
