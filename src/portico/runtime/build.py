"""From the configuration file and the installed plugins to a snapshot."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, Final

from portico.config import PolicyKind, Settings, compile_snapshot, load_file, refused
from portico.contracts import Mount, PluginSpec, Snapshot
from portico.errors import ConfigError
from portico.kernel import discovery, order
from portico.kernel.plugin import AnyPlugin, PolicySpec, ProvidesPolicy, ProvidesRouter
from portico.runtime import certificates, environment
from portico.runtime.demo import Demo
from portico.runtime.options import UpOptions

Get = Callable[[Snapshot], object]

# What a reload can't change: its place in the file, what it is, where the snapshot has it.
FIXED: Final[tuple[tuple[tuple[str, ...], str, Get], ...]] = (
    (("server", "listen"), "the listening addresses", lambda snapshot: addresses(snapshot)),
    (("server", "workers"), "the number of workers", lambda snapshot: snapshot.server.workers),
    (("server", "services"), "the number of services processes", lambda snapshot: snapshot.server.services_processes),
    (("data_dir",), "the data directory", lambda snapshot: snapshot.data_dir),
    (("storage",), "the database", lambda snapshot: snapshot.storage),
    (("state",), "the shared state", lambda snapshot: snapshot.state),
)


@dataclass(frozen=True, slots=True)
class Built:
    """A snapshot, the settings it was made of, and what is worth a warning about it."""

    settings: Settings
    snapshot: Snapshot
    warnings: tuple[str, ...] = ()


def addresses(snapshot: Snapshot) -> list[object]:
    """The listeners without their certificates, which a reload may change."""
    return [(each.name, each.host, each.port, each.unix, each.metrics, each.tls.on) for each in snapshot.server.listen]


@dataclass(frozen=True, slots=True)
class PluginState:
    """A plugin as `portico plugins` shows it; `role` says which processes start it."""

    id: str
    type: str
    order: int
    role: str
    state: str  # on | off
    reason: str


class Builder:
    """Makes snapshots for one set of command-line options."""

    def __init__(self, options: UpOptions) -> None:
        self.options = options
        self.config = Demo(options).config if options.demo else options.config

    def settings(self) -> Settings:
        """The configuration as it is now; ConfigError with everything that is wrong with it."""
        return load_file(self.config, self.options.overrides, os.environ)

    def build(self, version: int) -> Built:
        """The snapshot of the configuration as it is now. ConfigError or PluginError when there is none."""
        settings = self.settings()
        plugins = prepare(settings)
        compiled = compile_snapshot(
            settings,
            version=version,
            mounts=[(each.id, mount) for each in plugins for mount in each.mounts],
            plugins=tuple(each.spec for each in plugins),
            plugin_policies={spec.id: policy_kind(spec) for each in plugins for spec in each.policies},
            demo=self.options.demo,
        )
        snapshot = compiled.snapshot
        warnings = [*compiled.warnings, *certificates.check(settings, snapshot), *_apart(snapshot), *self._unknown()]
        return Built(settings, snapshot, tuple(warnings))

    def _unknown(self) -> Iterator[str]:
        text = self.config.read_text("utf-8", "replace") if self.config is not None else ""
        return environment.unknown(os.environ, text)

    def must_fit(self, running: Built, new: Built) -> None:
        """ConfigError when `new` differs from `running` in what only a restart can change."""
        sentence = "can't change in a running gateway; stop it (portico down) and start it again"
        problems = [
            new.settings.problem(path, f"{what} {sentence}")
            for path, what, get in FIXED
            if get(running.snapshot) != get(new.snapshot)
        ]
        if problems:
            raise ConfigError(problems)


def _apart(snapshot: Snapshot) -> Iterator[str]:
    """What several services processes would not share."""
    count = snapshot.server.services_processes
    if count > 1 and snapshot.state.url.startswith("memory:"):
        yield f"state.url: memory:// is kept by each of the {count} services processes for itself; redis:// is shared"


class Prepared:
    """An enabled plugin, made from its validated configuration."""

    def __init__(self, found: discovery.Found, settings: Settings) -> None:
        self.id = found.id
        kind = discovery.load(found.id, found.factory)
        given = settings.plugins[found.id].config if found.id in settings.plugins else {}
        config = _validated(kind.config_model, given, settings, found.id)
        self.spec = PluginSpec(found.id, found.factory, config)
        self.plugin: AnyPlugin = discovery.instantiate(found.id, found.factory, config)

    @property
    def mounts(self) -> tuple[Mount, ...]:
        return self.plugin.mounts if isinstance(self.plugin, ProvidesRouter) else ()

    @property
    def policies(self) -> list[PolicySpec]:
        return self.plugin.policies() if isinstance(self.plugin, ProvidesPolicy) else []


def prepare(settings: Settings) -> list[Prepared]:
    """The plugins to start, in order: the default set and those that the file names, unless `enabled: false`."""
    wanted = dict.fromkeys([*discovery.DEFAULT, *settings.plugins])
    off = {name for name, plugin in settings.plugins.items() if not plugin.enabled}
    made = {found.id: Prepared(found, settings) for found in discovery.resolve(n for n in wanted if n not in off)}
    return [made[plugin.info.id] for plugin in order.arrange(each.plugin for each in made.values())]


def plugin_states(settings: Settings) -> list[PluginState]:
    """Every installed plugin: those that start, in order, then the others."""
    on = prepare(settings)
    roles = order.roles(each.plugin for each in on)
    states = []
    for number, each in enumerate(on, 1):
        reason = "named in the configuration" if each.id in settings.plugins else "started by default"
        role = ",".join(sorted(roles[each.id])) or "none"
        states.append(PluginState(each.id, each.plugin.info.type.name, number, role, "on", reason))
    started = {each.id for each in on}
    for found in sorted(discovery.available().values(), key=lambda found: found.id):
        if found.id not in started:
            reason = "enabled: false" if found.id in settings.plugins else "not named in the configuration"
            kind = discovery.load(found.id, found.factory)
            states.append(PluginState(found.id, kind.info.type.name, 0, "none", "off", reason))
    return states


def policy_kind(spec: PolicySpec) -> PolicyKind:
    """A plugin's policy as `portico.config` takes it."""
    return PolicyKind(spec.phase, spec.order, spec.factory, ModelCheck(spec.config_model, f"policy {spec.id!r}"))


class ModelCheck:
    """Validates a plain configuration with the Pydantic model that "module:Class" names ("" takes nothing)."""

    def __init__(self, model: str, what: str) -> None:
        self.model = model
        self.what = what

    def __call__(self, given: dict[str, Any]) -> dict[str, Any]:
        """The validated configuration as plain JSON values; pydantic.ValidationError when it is wrong."""
        model = discovery.import_object(self.model or "portico.config.base:Strict", self.what)
        plain: dict[str, Any] = model.model_validate(given).model_dump(mode="json")
        return plain


def _validated(model: str, given: dict[str, Any], settings: Settings, plugin_id: str) -> dict[str, Any]:
    try:
        return ModelCheck(model, f"plugin {plugin_id!r}")(given)
    except ValueError as error:
        raise ConfigError(refused(settings, ("plugins", plugin_id), error)) from None
