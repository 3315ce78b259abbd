"""The built-in plugins as a set: their order, their processes, and their policies' twins in the configuration."""

from __future__ import annotations

from pathlib import Path

import portico.kernel
from portico.config import compile_snapshot, load_file
from portico.kernel.discovery import DEFAULT, instantiate, resolve
from portico.kernel.order import arrange, roles
from portico.kernel.plugin import AnyPlugin, PolicySpec, ProvidesPolicy

GOLDEN = Path(__file__).resolve().parents[2] / "golden" / "start_order.txt"
EVERY_POLICY = """
upstreams: {users: {targets: [http://127.0.0.1:9000]}}
routes:
  - name: users
    paths: [/users/*]
    upstream: users
    auth: [api_key]
    require: [users:read]
    limits: [{rate: 600/minute}, {window: 100/minute}, {quota: 10000/day}, {concurrent: 50}]
    body_bytes: 1MiB
    headers: {request: {set: {X-A: b}}}
    cors: {origins: ["https://example.com"]}
    deny: [192.0.2.0/24]
    guard: {detect: prompt_injection}
"""


def built_ins() -> list[AnyPlugin]:
    return [instantiate(found.id, found.factory, {}) for found in resolve(DEFAULT)]


def test_start_order_is_the_golden_one() -> None:
    plugins = built_ins()
    where = roles(plugins)
    infos = [each.info for each in arrange(plugins)]
    lines = [f"{info.id:<12}{info.type.name:<16}{','.join(sorted(where[info.id]))}" for info in infos]
    assert "\n".join(lines) + "\n" == GOLDEN.read_text()


def test_every_policy_is_told_alike_by_its_plugin_and_by_its_twin_in_the_configuration(tmp_path: Path) -> None:
    file = tmp_path / "portico.yaml"
    file.write_text(EVERY_POLICY)
    compiled = compile_snapshot(load_file(file, {}, {}), version=1).snapshot
    route = next(route for route in compiled.routes if route.name == "users")
    from_config = {(each.id, each.phase, each.order, each.factory) for each in route.policies}
    specs = [spec for plugin in built_ins() if isinstance(plugin, ProvidesPolicy) for spec in plugin.policies()]
    assert from_config == {(spec.id, spec.phase, spec.order, spec.factory) for spec in specs}
    assert len(specs) == len({spec.id for spec in specs}) == 13
    assert all(isinstance(spec, PolicySpec) for spec in specs)


def test_the_kernel_s_face() -> None:
    assert sorted(portico.kernel.__all__) == portico.kernel.__all__
    assert all(hasattr(portico.kernel, name) for name in portico.kernel.__all__)
