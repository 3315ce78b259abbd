"""The JSON Schema, and the example that shows every setting."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from portico.config import compile_snapshot, json_schema, load_file
from portico.config.substitute import Expander
from portico.config.tree import compose

EXAMPLE = Path(__file__).parents[3] / "portico.example.yaml"
KEYS = """
server.host server.port server.listen[].host server.listen[].port server.listen[].unix server.listen[].tls.cert
server.workers server.services.processes server.trusted_proxies server.proxy_protocol server.tls.cert server.tls.key
server.tls.client_ca server.tls.client_auth server.limits.header_bytes server.limits.body_bytes
server.limits.connections server.limits.in_flight server.limits.buffered server.limits.header_timeout
server.limits.idle_timeout server.limits.drain data_dir log.level log.format
upstreams.*.targets[].url upstreams.*.targets[].weight upstreams.*.balance upstreams.*.timeouts.connect
upstreams.*.timeouts.first_byte upstreams.*.timeouts.idle upstreams.*.timeouts.total upstreams.*.retries.attempts
upstreams.*.retries.on upstreams.*.retries.budget upstreams.*.breaker.failure_ratio upstreams.*.breaker.min_requests
upstreams.*.breaker.window upstreams.*.breaker.open_for upstreams.*.health.path upstreams.*.health.interval
upstreams.*.health.timeout upstreams.*.health.healthy_after upstreams.*.health.unhealthy_after
upstreams.*.pool.max_connections upstreams.*.pool.max_idle upstreams.*.tls.verify upstreams.*.tls.ca
upstreams.*.tls.cert upstreams.*.tls.key upstreams.*.tls.server_name
keys[].id keys[].sha256 keys[].permissions keys[].tenant
routes[].name routes[].hosts routes[].paths routes[].methods routes[].upstream routes[].strip_prefix routes[].auth
routes[].require routes[].limits[].rate routes[].limits[].burst routes[].limits[].by routes[].limits[].window
routes[].limits[].quota routes[].limits[].concurrent routes[].body_bytes routes[].buffer
routes[].headers.request.set routes[].headers.request.add routes[].headers.request.remove
routes[].headers.response.set routes[].headers.response.add routes[].headers.response.remove
routes[].cors.origins routes[].cors.methods routes[].cors.headers routes[].cors.credentials routes[].cors.max_age
routes[].allow routes[].deny routes[].timeouts.connect routes[].timeouts.first_byte routes[].timeouts.idle
routes[].timeouts.total routes[].websocket routes[].preserve_host routes[].forward_credentials routes[].policies
layers.public.auth layers.app.require layers.mcp.limits layers.admin.headers layers.public.cors layers.app.allow
layers.mcp.deny layers.admin.body_bytes plugins.*.enabled
"""
CONTRACT = KEYS.split()


def data_of_example() -> Any:
    """The example as plain values, as an editor's YAML reader has them."""
    return json.loads(json.dumps(Expander(EXAMPLE.parent, {}).expand(compose(EXAMPLE.read_text(encoding="utf-8")))))


def below(schema: dict[str, Any], node: dict[str, Any], part: str) -> Iterator[dict[str, Any]]:
    """The schemas of what is at a key, `[]` or `*` of a node."""
    if "$ref" in node:
        yield from below(schema, schema["$defs"][node["$ref"].rsplit("/", 1)[1]], part)
    for way in (*node.get("anyOf", ()), *node.get("oneOf", ())):
        yield from below(schema, way, part)
    if part == "[]" and "items" in node:
        yield node["items"]
    elif part == "*" and isinstance(node.get("additionalProperties"), dict):
        yield node["additionalProperties"]
    elif part in node.get("properties", {}):
        yield node["properties"][part]


def at(schema: dict[str, Any], path: str) -> list[dict[str, Any]]:
    nodes = [schema]
    for part in path.replace("[]", ".[]").split("."):
        nodes = [found for node in nodes for found in below(schema, node, part)]
    return nodes


def present(data: Any, path: str) -> bool:
    values = [data]
    for part in path.replace("[]", ".[]").split("."):
        if part in ("[]", "*"):
            values = [item for value in values for item in (value.values() if isinstance(value, dict) else value)]
        else:
            values = [value[part] for value in values if isinstance(value, dict) and part in value]
    return bool(values)


def test_it_is_a_schema() -> None:
    schema = json_schema()
    assert schema["$schema"] == "https://json-schema.org/draft/2020-12/schema"
    jsonschema.Draft202012Validator.check_schema(schema)
    json.dumps(schema)


@pytest.mark.parametrize("path", CONTRACT)
def test_every_key_of_the_contract_is_described(path: str) -> None:
    found = at(json_schema(), path)
    assert found
    assert all("description" in node for node in found)


def test_no_object_takes_unknown_keys() -> None:
    for name, node in json_schema()["$defs"].items():
        assert node["additionalProperties"] is (name == "Plugin"), name
    assert json_schema()["additionalProperties"] is False


@pytest.mark.parametrize(
    "text",
    [
        "server: {prot: 1}",
        "server: {port: 70000}",
        "server: {limits: {drain: 5}}",
        "server: {limits: {body_bytes: 1kib}}",
        "upstreams: {a: {}}",
        "routes: [{name: a, upstream: b}]",
        "routes: [{name: a, upstream: b, paths: [a]}]",
        "routes: [{name: a, upstream: b, paths: [/a], limits: [{rate: 5}]}]",
        "routes: [{name: a, upstream: b, paths: [/a], auth: api_key}]",
        "keys: [{id: a, sha256: b}]",
        "log: {level: loud}",
    ],
)
def test_editors_mark_mistakes(text: str) -> None:
    data = json.loads(json.dumps(Expander(Path(), {}).expand(compose(text))))
    assert not jsonschema.Draft202012Validator(json_schema()).is_valid(data)


def test_editors_take_substitutions() -> None:
    data = {"server": {"port": "${PORT}", "limits": {"drain": "${DRAIN}"}}, "log": {"level": "${file:level}"}}
    jsonschema.Draft202012Validator(json_schema()).validate(data)


def test_the_example_is_valid_for_editors() -> None:
    jsonschema.Draft202012Validator(json_schema()).validate(data_of_example())


@pytest.mark.parametrize("path", CONTRACT)
def test_the_example_shows_every_key(path: str) -> None:
    if path.startswith("layers.") or path.startswith("routes[].timeouts."):
        path = path.rsplit(".", 1)[0]  # the same keys are shown once, in routes and in upstreams
    assert present(data_of_example(), path)


def test_the_example_is_valid() -> None:
    settings = load_file(EXAMPLE, env={"HOME": "/home/x"})
    made = compile_snapshot(settings, version=1)
    assert made.warnings == ()
    policies = [policy.id for policy in made.snapshot.routes[0].policies]
    assert policies == [
        *("request_id", "access", "cors", "body", "auth", "require", "key_limits"),
        *("rate", "window", "quota", "concurrent", "guard", "headers"),
    ]


def test_what_the_example_calls_default_is_default() -> None:
    example, bare = load_file(EXAMPLE, env={"HOME": "/h"}), load_file(None, env={"HOME": "/h"})
    assert example.server.limits == bare.server.limits
    assert (example.server.host, example.server.port, example.data_dir) == (
        bare.server.host,
        bare.server.port,
        bare.data_dir,
    )
    users, files = example.upstreams["users"], example.upstreams["files"]
    for name in ("balance", "timeouts", "retries", "breaker", "pool", "tls"):
        assert getattr(users, name) == getattr(files, name), name
