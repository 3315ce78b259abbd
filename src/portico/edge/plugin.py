"""The edge's own policies as plugins: the same door that anyone's policies come through."""

from __future__ import annotations

from typing import Any, ClassVar, Final

from portico.contracts import ADMIT, AUTHENTICATE, AUTHORIZE, IDENTIFY, LIMIT, TRANSFORM, VALIDATE
from portico.kernel.plugin import BasePlugin, PluginInfo, PluginType, PolicySpec

FACTORY: Final = "portico.edge.policies.{}:build"


def _policy(name: str, phase: int, order: int) -> PolicySpec:
    return PolicySpec(name, phase, order, FACTORY.format(name))


class RequestId(BasePlugin[dict[str, Any]]):
    """Gives every request an id."""

    info: ClassVar = PluginInfo("request_id", PluginType.INFRASTRUCTURE, order=10, summary="request ids")

    def policies(self) -> list[PolicySpec]:
        """The policies that the plugin brings."""
        return [_policy("request_id", IDENTIFY, 10)]


class Access(BasePlugin[dict[str, Any]]):
    """What may come in at all: client networks, browsers' origins, sizes of bodies, and what is in them."""

    info: ClassVar = PluginInfo(
        "access", PluginType.SECURITY, order=10, summary="allow and deny lists, CORS, body size, guard"
    )

    def policies(self) -> list[PolicySpec]:
        """The policies that the plugin brings."""
        return [
            _policy("access", ADMIT, 10),
            _policy("cors", ADMIT, 20),
            _policy("body", ADMIT, 30),
            _policy("guard", VALIDATE, 10),
        ]


class ApiKeys(BasePlugin[dict[str, Any]]):
    """Who calls, by API key, token or certificate, and what they may do."""

    info: ClassVar = PluginInfo(
        "api_keys", PluginType.SECURITY, order=20, summary="API keys, tokens, certificates and permissions"
    )

    def policies(self) -> list[PolicySpec]:
        """The policies that the plugin brings."""
        return [
            _policy("auth", AUTHENTICATE, 10),
            _policy("require", AUTHORIZE, 10),
            _policy("key_limits", LIMIT, 5),
        ]


class Limits(BasePlugin[dict[str, Any]]):
    """How much anyone may use."""

    info: ClassVar = PluginInfo(
        "limits", PluginType.MIDDLEWARE, order=10, summary="rates, windows, quotas, concurrency"
    )

    def policies(self) -> list[PolicySpec]:
        """The policies that the plugin brings."""
        return [
            _policy("rate", LIMIT, 10),
            _policy("window", LIMIT, 20),
            _policy("quota", LIMIT, 30),
            _policy("concurrent", LIMIT, 40),
        ]


class Headers(BasePlugin[dict[str, Any]]):
    """Changes header fields on the way."""

    info: ClassVar = PluginInfo("headers", PluginType.MIDDLEWARE, order=20, summary="header fields set, added, removed")

    def policies(self) -> list[PolicySpec]:
        """The policies that the plugin brings."""
        return [_policy("headers", TRANSFORM, 10)]
