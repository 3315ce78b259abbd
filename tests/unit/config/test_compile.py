"""The snapshot: the file's routes, what plugins mount, what the edge answers itself."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, ConfigDict

from portico import contracts
from portico.config import PolicyKind, Settings, compile_snapshot, refused
from portico.contracts import HEALTH, METRICS, SERVICES, Mount, PluginSpec
from portico.errors import ConfigError, PluginError

from .conftest import BASE, Read

GOLDEN = Path(__file__).parents[2] / "golden" / "snapshot.json"
STATUS = Mount("GET", "/api/v1/public/status", aliases=("/status",))
SMALL = """
    data_dir: /var/lib/portico
    server: {listen: [{unix: /run/p.sock, metrics: true}], trusted_proxies: [10.0.0.0/8]}
    upstreams:
      users: {targets: ["http://127.0.0.1:9000", {url: "http://[::1]:9001", weight: 2}, "unix:/run/u.sock"]}
    keys:
      - {id: demo, permissions: ["users:*"], sha256: ABABABABABABABABABABABABABABABABABABABABABABABABABABABABABABABAB}
    routes:
      - name: users
        hosts: [API.example.com]
        paths: [/users/*, "/teams/{team}/members"]
        methods: [GET]
        upstream: users
        auth: [api_key]
        require: [users:read]
        limits: [{rate: 600/minute, burst: 60, by: key}, {concurrent: 50}]
        timeouts: {total: 20s}
    layers: {public: {limits: [{window: 300/minute}]}}
    """


class Guard(BaseModel):
    """A plugin's model."""

    model_config = ConfigDict(extra="forbid", strict=True)
    depth: int


def guard(config: dict[str, Any]) -> dict[str, Any]:
    return Guard.model_validate(config).model_dump()


KINDS = {"guard": PolicyKind(contracts.VALIDATE, 5, "guard.policy:build", guard)}


def named(snapshot: contracts.Snapshot, name: str) -> list[contracts.Route]:
    return [route for route in snapshot.routes if route.name == name]


def compiled(settings: Settings, *mounts: Mount, **kwargs: Any) -> contracts.Snapshot:
    return compile_snapshot(settings, version=1, mounts=[("public", each) for each in mounts], **kwargs).snapshot


def test_golden_snapshot(read: Read) -> None:
    plugins = (PluginSpec("public", "portico.services.public.plugin:Public", {}),)
    made = compile_snapshot(read(SMALL), version=7, mounts=[("public", STATUS)], plugins=plugins)
    found = json.loads(contracts.dump(made.snapshot))
    assert found == json.loads(GOLDEN.read_text())
    assert contracts.load(contracts.dump(made.snapshot)) == made.snapshot
    assert made.warnings == ()


def test_routes_come_in_order(read: Read) -> None:
    snapshot = compiled(read(BASE), STATUS)
    assert [(route.name, route.upstream) for route in snapshot.routes] == [
        ("users", "users"),
        ("public.status", SERVICES),
        ("public.status", SERVICES),
        ("portico.health", HEALTH),
        ("portico.health.live", HEALTH),
        ("portico.health.ready", HEALTH),
        ("portico.metrics", METRICS),
    ]


def test_timeouts_are_the_upstreams_with_the_routes_over_them(read: Read) -> None:
    text = BASE.replace('9000"]', '9000"], timeouts: {connect: 1s, idle: 5s}')
    assert compiled(read(text)).routes[0].timeouts is None
    changed = compiled(read(text + "    timeouts: {idle: 0s, total: 9s}\n")).routes[0].timeouts
    assert changed == contracts.Timeouts(connect=1.0, first_byte=30.0, idle=0.0, total=9.0)


def test_mounts_and_their_aliases(read: Read) -> None:
    mount = Mount("get", "/api/v1/public/items/{id}", ("/items/{id}", "/i/{id}"), redact=("id",), body_bytes=10)
    first, *aliases = named(
        compiled(read("layers: {public: {body_bytes: 20, deny: [10.0.0.0/8]}}"), mount), "public.items.id"
    )
    assert (first.paths, first.methods, first.rewrite, first.layer, first.source) == (
        ("/api/v1/public/items/{id}",), ("GET",), None, "public", "public",
    )  # fmt: skip
    assert [(alias.paths, alias.rewrite) for alias in aliases] == [
        (("/items/{id}",), "/api/v1/public/items/{id}"),
        (("/i/{id}",), "/api/v1/public/items/{id}"),
    ]
    assert {route.redact for route in (first, *aliases)} == {("id",)}
    assert {policy.id: policy.config for policy in first.policies} == {
        "request_id": {},
        "access": {"allow": [], "deny": ["10.0.0.0/8"]},
        "body": {"limit": 10},
    }
    assert aliases[0].policies == first.policies


def test_mounts_of_one_path_have_names_of_their_own(read: Read) -> None:
    mounts = [Mount(method, "/api/v1/things") for method in ("GET", "POST")] + [Mount("GET", "/things")]
    snapshot = compiled(read("{}"), *mounts, Mount("GET", "/openapi.json"))
    assert [route.name for route in snapshot.routes[:4]] == [
        "public.things", "public.things.post", "public.things.get", "public.openapi-json",
    ]  # fmt: skip


def test_credentials_and_permission_of_a_mount(read: Read) -> None:
    def guards(settings: Settings, **mount: Any) -> dict[str, Any]:
        (route,) = named(compiled(settings, Mount("GET", "/api/v1/public/x", **mount)), "public.x")
        return {policy.id: policy.config for policy in route.policies if policy.phase in (30, 40)}

    def auth(*kinds: str) -> dict[str, Any]:
        return {"auth": {"kinds": list(kinds)}}

    key = auth("api_key")
    any_kind = auth("api_key", "jwt", "certificate")
    assert guards(read("{}")) == {}
    assert guards(read("{}"), credentials=("jwt", "api_key")) == auth("api_key", "jwt")
    assert guards(read("{}"), permission="x:read") == any_kind | {"require": {"permissions": ["x:read"]}}
    layered = read("layers: {admin: {auth: [api_key], require: [a:b]}}")
    assert guards(layered, layer="admin") == key | {"require": {"permissions": ["a:b"]}}
    assert guards(layered, layer="admin", permission="x:read") == key | {"require": {"permissions": ["a:b", "x:read"]}}
    assert guards(layered, layer="admin", credentials=("jwt",)) == key | {"require": {"permissions": ["a:b"]}}
    with pytest.raises(
        PluginError, match="plugin public mounts /api/v1/public/x for cookie only, and none of these is available"
    ):
        guards(read("{}"), credentials=("cookie",))
    with pytest.raises(PluginError, match="'cellar', which is not a layer"):
        guards(read("{}"), layer="cellar")


def test_metrics_want_a_permission_but_not_in_a_demonstration(read: Read) -> None:
    (guarded,) = named(compiled(read("{}")), "portico.metrics")
    assert [policy.id for policy in guarded.policies] == ["request_id", "body", "auth", "require", "key_limits"]
    assert guarded.policies[-2].config == {"permissions": ["metrics:read"]}
    demo = compiled(read("{}"), demo=True)
    assert [policy.id for policy in named(demo, "portico.metrics")[0].policies] == ["request_id", "body"]
    assert demo.demo


def with_routes(read: Read, *routes: str) -> contracts.Snapshot | Any:
    text = 'upstreams: {u: {targets: ["http://127.0.0.1:1"]}}\nroutes:\n'
    settings = read(text + "".join(f"  - {{upstream: u, {route}}}\n" for route in routes))
    return compile_snapshot(settings, version=1, mounts=[("public", STATUS)])


def test_a_route_of_the_file_takes_a_path_of_ours(read: Read) -> None:
    made = with_routes(
        read, "name: mine, paths: [/health, /status]", "name: m, paths: [/metrics], methods: [GET, POST]"
    )
    assert made.warnings == (
        "routes[0] (mine) takes /status from Portico's own public.status",
        "routes[0] (mine) takes /health from Portico's own portico.health",
        "routes[1] (m) takes /metrics from Portico's own portico.metrics",
    )
    assert named(made.snapshot, "portico.health")[0].paths == ("/api/health", "/api/v1/health")
    assert [route.paths for route in named(made.snapshot, "public.status")] == [("/api/v1/public/status",)]
    assert named(made.snapshot, "portico.metrics") == []


def test_a_part_of_a_path_leaves_the_rest_to_ours(read: Read) -> None:
    made = with_routes(
        read,
        "name: a, paths: [/health], hosts: [a.example]",
        "name: b, paths: [/status], methods: [POST]",
        "name: c, paths: [/*, '/{x}']",
    )
    assert made.warnings == ("routes[0] (a) takes /health for a.example from Portico's own portico.health",)
    assert named(made.snapshot, "portico.health")[0].paths[0] == "/health"
    assert len(named(made.snapshot, "public.status")) == 2


def test_names_of_ours_give_way(read: Read) -> None:
    made = with_routes(read, "name: portico.health, paths: [/x]", "name: public.status, paths: [/y]")
    names = [route.name for route in made.snapshot.routes]
    assert names[:4] == ["portico.health", "public.status", "@public.status", "@public.status"]
    assert "@portico.health" in names


def test_policies_of_plugins(read: Read) -> None:
    settings = read(BASE + "    policies: {guard: {depth: 3}}\n    headers: {request: {set: {X-A: a}}}\n")
    policies = compiled(settings, plugin_policies=KINDS).routes[0].policies
    assert [policy.id for policy in policies] == ["request_id", "body", "guard", "headers"]
    assert policies[2] == contracts.Policy("guard", contracts.VALIDATE, 5, "guard.policy:build", {"depth": 3})


def test_wrong_policies_of_plugins_are_told_at_once(read: Read) -> None:
    text = (
        BASE
        + """\
    policies:
      guard:
        depth: deep
        more: 1
      gaurd: {}
      rate: {}
"""
    )
    unknown = "is not the id of a plugin with a policy for routes"
    kinds = KINDS | {"rate": PolicyKind(50, 10, "portico.edge.policies.rate:build", guard)}
    with pytest.raises(ConfigError) as caught:
        compiled(read(text), plugin_policies=kinds)
    assert str(caught.value).splitlines() == [
        "portico.yaml:9: routes[0].policies.guard.depth: must be a valid integer",
        "portico.yaml:10: routes[0].policies.guard.more: unknown key",
        f"portico.yaml:11: routes[0].policies.gaurd: {unknown}; did you mean 'guard'?",
        f"portico.yaml:12: routes[0].policies.rate: {unknown}; there are: guard",
    ]


def test_refusals_of_a_plugins_own_configuration(read: Read) -> None:
    settings = read("plugins:\n  guard:\n    depth: x\n    enabled: true\n")
    with pytest.raises(ValueError) as caught:
        guard(settings.plugins["guard"].config)
    (problem,) = refused(settings, ("plugins", "guard"), caught.value)
    assert str(problem) == "portico.yaml:3: plugins.guard.depth: must be a valid integer"


def test_warnings(read: Read) -> None:
    assert compile_snapshot(read(BASE + "    auth: [api_key]\n"), version=1).warnings == ()
    text = BASE + "    auth: [certificate]\n"
    assert compile_snapshot(read(text), version=1).warnings == (
        "route users takes client certificates, and no listener asks for them (tls.client_auth)",
    )
    tls = "server: {tls: {cert: a.pem, client_ca: b.pem, client_auth: optional}}\n"
    assert compile_snapshot(read(tls + text), version=1).warnings == (
        "route users takes client certificates, and certificates has none: all are refused",
    )
    rule = "certificates: [{match: {san: a.example}, principal: a}]\n"
    assert compile_snapshot(read(tls + rule + text), version=1).warnings == ()
