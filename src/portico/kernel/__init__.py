"""The plugin kernel: what a plugin is, how plugins are found, ordered, started and stopped."""

from portico.kernel.container import ServiceContainer
from portico.kernel.plugin import (
    BasePlugin,
    Health,
    PluginInfo,
    PluginType,
    PolicySpec,
    ProvidesPolicy,
    ProvidesRouter,
    ReportsDependencies,
    ReportsHealth,
)

__all__ = [
    "BasePlugin",
    "Health",
    "PluginInfo",
    "PluginType",
    "PolicySpec",
    "ProvidesPolicy",
    "ProvidesRouter",
    "ReportsDependencies",
    "ReportsHealth",
    "ServiceContainer",
]
