"""What every plugin must do, as checks that a plugin's own tests run.

    @pytest.mark.parametrize("check", conformance.CHECKS, ids=lambda check: check.__name__)
    def test_conformance(check):
        check(conformance.Subject("my_package.plugin:MyPlugin", {"setting": 1}))

or all at once: `conformance.check_plugin("my_package.plugin:MyPlugin")`. A check raises AssertionError with a sentence.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping
from contextlib import asynccontextmanager
from copy import deepcopy
from typing import Any, Final

from portico.contracts import PHASES, Boot, Listen, Mount, Server, Snapshot
from portico.kernel.container import ServiceContainer
from portico.kernel.discovery import import_object, instantiate, load, resolve
from portico.kernel.order import arrange
from portico.kernel.plugin import AnyPlugin, PluginType, ProvidesPolicy, ProvidesRouter
from portico.services.host import Host
from portico.telemetry.counts import Counts
from portico.telemetry.tracing.process import Tracing

HEAVY: Final = (
    "aiohttp", "aiosqlite", "alembic", "asyncpg", "fastapi", "grpc", "mcp", "prometheus_client", "pyarrow", "pydantic",
    "redis", "rich", "sqlalchemy", "sqlcipher3", "starlette", "typer", "uvicorn", "yaml",
)  # fmt: skip
NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,63}")
POLICY_NAME: Final = re.compile(r"[a-z][a-z0-9_]{0,63}(\.[a-z][a-z0-9_]{0,63})?")
TOKEN: Final = re.compile(r"[A-Z][A-Z0-9-]{0,31}")
UNKNOWN: Final = "a_key_that_no_plugin_has"
SETTLE: Final = 2.0  # seconds for what was stopped to go, at the most


def default_services() -> ServiceContainer:
    """What a services process provides before the first plugin initializes."""

    async def ask(what: str) -> dict[str, Any]:
        return {"edge": "ok", "services": "ok"}

    services = ServiceContainer()
    snapshot = Snapshot(1, "conformance", Server((Listen("main", "127.0.0.1", 8771),)))
    services.provide(Snapshot, snapshot)
    services.provide(Host, Host(snapshot, ask))
    services.provide(Counts, Counts())
    services.provide(Tracing, Tracing())
    return services


class Subject:
    """The plugin to check: its class as "module:Class", a valid plain configuration, and what it finds provided."""

    def __init__(
        self,
        factory: str,
        config: Mapping[str, Any] | None = None,
        services: Callable[[], ServiceContainer] = default_services,
    ) -> None:
        self.factory = factory
        self.config = dict(config or {})
        self.services = services

    def kind(self) -> type[AnyPlugin]:
        """The plugin's class."""
        found = import_object(self.factory, "conformance")
        return load(found.info.id, self.factory)

    def make(self) -> AnyPlugin:
        """A new plugin."""
        return self.kind()(deepcopy(self.config))

    @asynccontextmanager
    async def surroundings(self) -> AsyncIterator[ServiceContainer]:
        """What a plugin finds when it initializes: the plugins it requires run, on a data directory of their own."""
        services = self.services()
        with tempfile.TemporaryDirectory(prefix="portico-conformance-") as folder:
            if not services.has(Boot):
                services.provide(Boot, Boot(folder, internal_key=bytes(32)))
            started: list[AnyPlugin] = []
            try:
                for plugin in _required(self.kind()):
                    started.append(plugin)
                    await plugin.initialize(services)
                    await plugin.start()
                yield services
            finally:
                for plugin in reversed(started):
                    await plugin.stop()


def _required(kind: type[AnyPlugin]) -> list[AnyPlugin]:
    """The plugins that `kind` requires, directly or not, in the order of their start."""
    found: dict[str, AnyPlugin] = {}
    names = list(kind.info.requires)
    while names:
        name = names.pop()
        if name not in found:
            found[name] = instantiate(name, resolve([name])[0].factory, {})
            names += found[name].info.requires
    return arrange(found.values())


def check_info(subject: Subject) -> None:
    """`info` can be ordered: a plain id, a band, and not itself among what it waits for."""
    info = subject.kind().info
    assert NAME.fullmatch(info.id), f"the id {info.id!r} is not a lower-case name"
    assert isinstance(info.type, PluginType), "info.type is not a PluginType"
    assert info.id not in (*info.requires, *info.after), f"{info.id} waits for itself"
    assert info.summary, "info.summary is empty: `portico plugins` has nothing to say"


def check_constructor(subject: Subject) -> None:
    """The constructor keeps its configuration and does nothing else."""

    async def construct() -> None:
        config = deepcopy(subject.config)
        kind = subject.kind()
        before = _resources()
        plugin = kind(config)
        assert _resources() == before, f"the constructor opened something: {_difference(before)}"
        assert plugin.config == subject.config, "the constructor changed its configuration"

    asyncio.run(construct())


def check_lifecycle(subject: Subject) -> None:
    """initialize, start, stop, stop again; and once more with a new instance. Nothing stays open."""

    async def live() -> None:
        before = _resources()
        for _ in range(2):
            plugin = subject.make()
            async with subject.surroundings() as services:
                await plugin.initialize(services)
                await plugin.start()
                await plugin.stop()
                await plugin.stop()
        await _nothing_stays(before)

    asyncio.run(live())


def check_half_done(subject: Subject) -> None:
    """stop works wherever start was left: never begun, only initialized, started but cut short."""

    async def live() -> None:
        before = _resources()
        for stages in range(4):
            plugin = subject.make()
            async with subject.surroundings() as services:
                if stages >= 1:
                    await plugin.initialize(services)
                if stages >= 2:
                    await _cut_short(plugin.start(), stages - 2)
                await plugin.stop()
                await plugin.stop()
        await _nothing_stays(before)

    asyncio.run(live())


async def _cut_short(step: Coroutine[Any, Any, None], ticks: int) -> None:
    task = asyncio.ensure_future(step)
    for _ in range(ticks):
        await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait({task})


def check_config(subject: Subject) -> None:
    """The configuration model is strict, takes the given configuration, and dumps to plain JSON."""
    kind = subject.kind()
    if not kind.config_model:
        assert not subject.config, "a plugin without config_model takes no configuration"
        return
    _check_model(kind.config_model, subject.config)


def check_policies(subject: Subject) -> None:
    """Each policy has a name, a phase, a factory that can be imported without anything heavy, and a strict model."""
    plugin = subject.make()
    if not isinstance(plugin, ProvidesPolicy):
        return
    specs = plugin.policies()
    assert specs, "policies() is empty"
    assert len({spec.id for spec in specs}) == len(specs), "two policies have one id"
    for spec in specs:
        assert POLICY_NAME.fullmatch(spec.id), f"the policy id {spec.id!r} is not a lower-case name"
        assert spec.phase in PHASES.values(), f"policy {spec.id}: {spec.phase} is no phase of portico.contracts.PHASES"
        assert callable(import_object(spec.factory, spec.id)), f"policy {spec.id}: {spec.factory} can't be called"
        _check_light(spec.factory.partition(":")[0])
        if spec.config_model:
            _check_model(spec.config_model, None)


def check_router(subject: Subject) -> None:
    """The mounts are well-formed and are exactly the router's routes."""
    plugin = subject.make()
    if isinstance(plugin, ProvidesRouter):
        asyncio.run(_check_router(subject, plugin))


async def _check_router(subject: Subject, plugin: Any) -> None:
    mounts: tuple[Mount, ...] = plugin.mounts
    for mount in mounts:
        assert TOKEN.fullmatch(mount.method), f"{mount.method!r} is no method"
        for path in (mount.path, *mount.aliases):
            assert path.startswith("/"), f"the path {path!r} does not begin with a slash"
            assert not path.startswith("/_portico/"), f"{path!r}: no listener can reach /_portico/"
        assert mount.layer in ("public", "app", "mcp", "admin"), f"{mount.layer!r} is no layer"
        assert not mount.permission or mount.credentials, f"{mount.path}: a permission without credentials"
    declared = [(mount.method, mount.path) for mount in mounts]
    assert len(set(declared)) == len(declared), "a path is mounted twice"
    async with subject.surroundings() as services:
        try:
            await plugin.initialize(services)
            await plugin.start()
            served = {
                (method, getattr(route, "path", ""))
                for route in plugin.router().routes
                for method in getattr(route, "methods", ())
            }
        finally:
            await plugin.stop()
    heads = {("HEAD", path) for method, path in declared if method == "GET"}
    assert served - heads == set(declared) - heads, f"mounts and routes differ: {sorted(served ^ set(declared))}"


def check_imports(subject: Subject) -> None:
    """The plugin's module loads nothing heavy: the edge imports it too."""
    _check_light(subject.factory.partition(":")[0])


CHECKS: Final = (
    check_info, check_constructor, check_lifecycle, check_half_done, check_config, check_policies, check_router,
    check_imports,
)  # fmt: skip


def check_plugin(factory: str, config: Mapping[str, Any] | None = None) -> None:
    """All checks; AssertionError tells every one that failed."""
    failures = []
    for check in CHECKS:
        try:
            check(Subject(factory, config))
        except AssertionError as error:
            failures.append(f"{check.__name__}: {error}")
    assert not failures, "\n".join([f"{factory} does not conform:", *failures])


def _check_model(path: str, config: dict[str, Any] | None) -> None:
    from pydantic import BaseModel, ValidationError

    model = import_object(path, "config_model")
    assert isinstance(model, type), f"{path} is no class"
    assert issubclass(model, BaseModel), f"{path} is no Pydantic model"
    given = {} if config is None else config
    try:
        model.model_validate({**given, UNKNOWN: 1})
    except ValidationError as error:
        places = [each["loc"] for each in error.errors()]
        assert (UNKNOWN,) in places, f"{path} accepts unknown keys: set extra='forbid'"
    else:
        raise AssertionError(f"{path} accepts unknown keys: set extra='forbid'")
    if config is not None:
        plain = model.model_validate(config).model_dump(mode="json")
        assert json.loads(json.dumps(plain)) == plain, f"{path} does not dump to plain JSON"


def _check_light(module: str) -> None:
    code = "import importlib, sys, json; importlib.import_module(sys.argv[1]); print(json.dumps(sorted(sys.modules)))"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(entry or os.curdir for entry in sys.path)}
    done = subprocess.run([sys.executable, "-c", code, module], capture_output=True, text=True, env=environment)
    assert done.returncode == 0, f"{module} can't be imported:\n{done.stderr}"
    loaded = {name.partition(".")[0] for name in json.loads(done.stdout)} & set(HEAVY)
    assert not loaded, f"importing {module} loads {', '.join(sorted(loaded))}: import it inside the method that uses it"


def _resources() -> dict[str, set[str]]:
    """What is open: descriptors (by what they are), threads, tasks of this loop but this one."""
    descriptors = set()
    for name in os.listdir("/proc/self/fd"):
        try:
            descriptors.add(f"{name} → {os.readlink(f'/proc/self/fd/{name}')}")
        except OSError:
            continue  # the listing's own descriptor
    current = asyncio.current_task()
    return {
        "descriptors": descriptors,
        # Those of the loop's own executor end with the loop.
        "threads": {
            f"{each.name}-{each.ident}" for each in threading.enumerate() if not each.name.startswith("asyncio_")
        },
        "tasks": {repr(task) for task in asyncio.all_tasks() if task is not current},
    }


def _difference(before: dict[str, set[str]]) -> str:
    return "; ".join(f"{kind}: {sorted(more)}" for kind, now in _resources().items() if (more := now - before[kind]))


async def _nothing_stays(before: dict[str, set[str]]) -> None:
    deadline = time.monotonic() + SETTLE
    while (left := _difference(before)) and time.monotonic() < deadline:
        await asyncio.sleep(0.01)
    assert not left, f"after stop there is still: {left}"
