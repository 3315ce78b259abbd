"""`routes` and `layers`: which request goes where, through which policies."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Final

from pydantic import Discriminator, Field, Tag

from portico import contracts
from portico.config.base import Named, Several, Strict
from portico.config.grammar import Host, Method, Path, path, shape
from portico.config.policies import auth, body, request_id, require
from portico.config.policies.access import Access
from portico.config.policies.by import repeated
from portico.config.policies.concurrent import Concurrent
from portico.config.policies.cors import Cors
from portico.config.policies.guard import Guard
from portico.config.policies.headers import Headers
from portico.config.policies.quota import Quota
from portico.config.policies.rate import Rate
from portico.config.policies.window import Window
from portico.config.scalars import Duration, Free, Name, Parse, Text, Truth, nearest
from portico.config.substitute import Finding

LIMIT_KINDS: Final = ("rate", "window", "quota", "concurrent")
OURS: Final = (("api", "v1"), ("_portico",))


def _kind(value: Any) -> str | None:
    """The tag of the limit that a mapping means, also when its key is slightly wrong."""
    if not isinstance(value, dict):
        return None
    for key in LIMIT_KINDS:
        if key in value:
            return f"<{key}>"
    near = [kind for kind in LIMIT_KINDS for key in value if nearest(key, LIMIT_KINDS).endswith(f"{kind!r}?")]
    return f"<{near[0]}>" if near else None


AnyLimit = Annotated[
    Annotated[Rate, Tag("<rate>")]
    | Annotated[Window, Tag("<window>")]
    | Annotated[Quota, Tag("<quota>")]
    | Annotated[Concurrent, Tag("<concurrent>")],
    Discriminator(_kind),
]


class PolicyKeys(Access, auth.Auth, require.Require, body.Body):
    """The keys that routes and layers have in common."""

    limits: Several[AnyLimit] = Field(
        default_factory=list, description="{rate}, {window}, {quota} or {concurrent}, each with by"
    )
    headers: Headers = Field(default_factory=Headers, description="Header fields set, added and removed")
    cors: Cors | None = Field(default=None, description="What browsers on other origins may do; null: nothing")

    def check(self) -> Iterator[Finding]:
        if not self.auth:
            if self.require:
                yield ("require",), "needs auth: [api_key]; with auth: none no caller is known"
            for index, limit in enumerate(self.limits):
                if limit.needs_caller():
                    message = "counts by the caller, which needs auth: [api_key]; by: client needs none"
                    yield ("limits", index, "by"), message
        for later, first in repeated(list(self.limits)):
            yield ("limits", later), f"is the same limit as limits[{first}]; keep one"

    def policies(self, body_limit: int, extra: list[contracts.Policy]) -> tuple[contracts.Policy, ...]:
        """All steps of a route in the order of its phases; `extra` are those that no key here names."""
        access, headers = self.access(), self.headers.policy()
        steps = [request_id.policy(), body.policy(body_limit), *extra]
        steps += [policy for policy in (access, self.cors.policy() if self.cors else None, headers) if policy]
        if self.auth:
            steps += auth.policies(self.auth)
        if self.require:
            steps.append(require.policy(self.require))
        steps += [limit.policy() for limit in self.limits]
        return in_order(steps)


def in_order(steps: list[contracts.Policy]) -> tuple[contracts.Policy, ...]:
    """Policies by phase, order, id; the same kind as the file has them."""
    return tuple(sorted(steps, key=lambda policy: (policy.phase, policy.order, policy.id)))


class RouteTimeouts(Strict):
    """What a route changes of its upstream's timeouts."""

    connect: Duration | None = Field(default=None, description="Until connected; the upstream's when left out")
    first_byte: Duration | None = Field(
        default=None, description="Until an answer begins; the upstream's when left out"
    )
    idle: Duration | None = Field(
        default=None, description="Between two pieces of a body; the upstream's when left out"
    )
    total: Duration | None = Field(default=None, description="For the whole exchange; the upstream's when left out")

    def over(self, upstream: contracts.Timeouts) -> contracts.Timeouts | None:
        """The upstream's timeouts with these in their places; None when there are none."""
        mine = {name: getattr(self, name) for name in type(self).model_fields}
        if all(value is None for value in mine.values()):
            return None
        return contracts.Timeouts(
            **{name: getattr(upstream, name) if value is None else value for name, value in mine.items()}
        )


def _strip(value: Any) -> str:
    if value == "":
        return ""
    if not isinstance(value, str) or value.endswith("/") or set("*{}") & set(value):
        raise ValueError('must be "" or a literal path such as /api, without / at its end')
    return path(value)


Prefix = Annotated[str, Parse(_strip, {"type": "string", "pattern": r"^(/[^?#\s]*[^/?#\s])?$"}, text=True)]


class Route(PolicyKeys):
    """Requests for `hosts`, `paths` and `methods` go to `upstream`, through the policies named here."""

    name: Name = Field(description="Its name in logs, metrics and limits")
    hosts: Several[Host] = Field(default_factory=list, description="api.example.com, *.example.com; empty: any")
    paths: Several[Path] = Field(description="/users/*, /teams/{team}/members")
    methods: Several[Method] = Field(default_factory=list, description="GET, POST …; empty: any")
    upstream: Text = Field(description="Name of one of the upstreams")
    strip_prefix: Prefix = Field(default="", description="Beginning of the path that the upstream does not see")
    buffer: Truth = Field(default=False, description="Take the whole body before the upstream is asked")
    timeouts: RouteTimeouts = Field(default_factory=RouteTimeouts, description="Overrides the upstream's")
    websocket: Truth = Field(default=True, description="Let WebSocket upgrades through")
    preserve_host: Truth = Field(default=True, description="Pass the client's Host on; else the target's")
    forward_credentials: Truth = Field(default=False, description="Pass credentials on that the edge has used")
    guard: Guard | None = Field(
        default=None, description="What is in bodies is scanned for attacks on language models; null: it is not"
    )
    plugin_policies: Named[Text, Free] = Field(
        default_factory=dict, alias="policies", description="Plugin id → its configuration, for policies of plugins"
    )

    def check(self) -> Iterator[Finding]:
        yield from super().check()
        if "*" in self.methods:
            yield ("methods", self.methods.index("*")), "is not a method; leave methods empty for any"
        for name, values in (("hosts", self.hosts), ("methods", self.methods)):
            for index, value in enumerate(values):
                if value in values[:index]:
                    yield (name, index), f"is given twice; see {name}[{values.index(value)}]"
        yield from self._paths()

    def _paths(self) -> Iterator[Finding]:
        if not self.paths:
            yield ("paths",), "needs at least one path; /* is every path"
        prefix = shape(self.strip_prefix)
        shapes = [shape(path) for path in self.paths]
        for index, parts in enumerate(shapes):
            first = shapes.index(parts)
            if first != index:
                yield ("paths", index), f"matches the same requests as paths[{first}]"
            if any(parts[: len(own)] == own for own in OURS):
                yield ("paths", index), "begins with /api/v1 or /_portico, which are Portico's own"
        if self.strip_prefix and any(parts[: len(prefix)] != prefix for parts in shapes):
            yield ("strip_prefix",), "is not the beginning of every path of this route"


class Layer(PolicyKeys):
    """Policies for Portico's own paths of one layer."""
