"""What each section refuses, one sentence a mistake."""

from __future__ import annotations

from pathlib import Path

import pytest

from .conftest import BASE, Read, Refused

REFUSALS = Path(__file__).parents[2] / "golden" / "refusals.txt"
NEEDS_AUTH = "needs auth: [api_key]; with auth: none no caller is known"


def cases() -> list[tuple[str, str, list[str]]]:
    """The golden refusals: section, what stands there, problems."""
    found: list[tuple[str, str, list[str]]] = []
    for line in REFUSALS.read_text(encoding="utf-8").splitlines():
        if line.startswith("> "):
            section, _, text = line[2:].partition(": ")
            found.append((section, text, []))
        elif line.startswith("  "):
            found[-1][2].append(line[2:])
    return found


def document(section: str, text: str) -> str:
    """A configuration whose only mistake is what stands in the section."""
    if section == "routes":
        return BASE + "".join(f"    {line}\n" for line in text.split(" ++ "))
    if section == "path":
        return BASE.replace("/users/*", f"'{text}'")
    return f"upstreams:\n  u: {text}" if section == "upstream" else f"{section}: {text}"


@pytest.mark.parametrize(("section", "text", "problems"), cases())
def test_refusals(refused: Refused, section: str, text: str, problems: list[str]) -> None:
    assert [found.split(": ", 1)[1] for found in refused(document(section, text))] == problems


@pytest.mark.parametrize(
    "path", ["/", "/*", "/a/", "/{x}/*", "/a%20b", "/a/{x}/b", "/api/v2/*", "/api/*", "/a:b@c;d=e"]
)
def test_good_paths(read: Read, path: str) -> None:
    assert read(BASE.replace("/users/*", f"'{path}'")).routes[0].paths == [path]


@pytest.mark.parametrize(
    ("first", "second", "equal"),
    [
        ("paths: [/a]", "paths: [/a]", True),
        ("paths: ['/{x}/b']", "paths: ['/{y}/b']", True),
        ("paths: [/a%62]", "paths: [/ab]", True),
        ("paths: [/a], methods: [GET, POST]", "paths: [/b, /a], methods: [POST]", True),
        ("paths: [/a], methods: [GET]", "paths: [/a]", True),
        ("paths: [/a], hosts: [x.example, y.example]", "paths: [/a], hosts: [Y.example]", True),
        ("paths: [/a], methods: [GET]", "paths: [/a], methods: [POST]", False),
        ("paths: [/a], hosts: [x.example]", "paths: [/a]", False),
        ("paths: [/a]", "paths: [/a/]", False),
        ("paths: [/a/*]", "paths: ['/a/{x}']", False),
        ("paths: [/a%2Fb]", "paths: [/a/b]", False),
    ],
)
def test_equal_routes(read: Read, refused: Refused, first: str, second: str, equal: bool) -> None:
    text = f"""
        upstreams: {{u: {{targets: ["http://127.0.0.1:1"]}}}}
        routes:
          - {{name: a, upstream: u, {first}}}
          - {{name: b, upstream: u, {second}}}
        """
    if not equal:
        assert len(read(text).routes) == 2
        return
    (problem,) = refused(text)
    assert "matches the same requests as a path of routes[0]; set them apart by hosts or methods" in problem


def test_defaults_of_the_contract_are_accepted(read: Read) -> None:
    text = """
        server: {proxy_protocol: false, services: {processes: 1}, tls: {cert: null, client_auth: none}}
        upstreams:
          u:
            targets: [http://127.0.0.1:9000, {url: http://127.0.0.1:9001, weight: 2}]
            balance: round_robin
            retries: {attempts: 1, on: [connect, reset, 502, 503, 504], budget: 20%}
            breaker: {failure_ratio: 50%, min_requests: 20, window: 10s, open_for: 5s}
            health: {path: /health, interval: 5s, timeout: 1s, healthy_after: 1, unhealthy_after: 2}
            tls: {verify: true, ca: null, cert: null, key: null, server_name: null}
        """
    assert read(text).upstreams["u"].targets[1].weight == 2


def test_listeners(read: Read) -> None:
    plain = read(
        f"server: {{listen: [{{host: '::', port: 0, metrics: true}}, {{unix: '/{'x' * 106}', name: local}}]}}"
    ).server.plain(Path("/etc"))
    assert [(each.name, each.host, each.port, each.metrics) for each in plain.listen] == [
        ("main", "127.0.0.1", 8771, False),
        ("listen-1", "::", 0, True),
        ("local", "", 0, False),
    ]


def test_workers_have_no_limits_in_common(refused: Refused, read: Read) -> None:
    text = (
        "server: {workers: 2}\n" + BASE + "    limits: [{concurrent: 5}]\nlayers: {admin: {limits: [{quota: 5/day}]}}\n"
    )
    assert refused(text) == [
        "portico.yaml:1: server.workers: must be 1 while there are limits (routes[0].limits, layers.admin.limits): "
        "each worker would count for itself, and together they would let more through; or give them a store to share: "
        "state.url: redis://HOST:PORT/0"
    ]
    assert read("server: {workers: 2}\n" + BASE).server.workers == 2


def test_keys(refused: Refused) -> None:
    low, high = "ab" * 32, "AB" * 32
    text = f"""\
        keys:
          - {{id: a, sha256: {low}}}
          - {{id: a, sha256: {high}}}
          - {{id: b c, sha256: "{"00" * 32}", permissions: [read, "a:b:c:d", "", "a:*", "*"]}}
        """
    permission = "must be a permission such as users:read, users:read:42, users:* or *"
    name = "must be a name: up to 64 letters, digits, '_', '-' and '.', not beginning with '-' or '.'"
    assert refused(text) == [
        "portico.yaml:3: keys[1].id: is the same as keys[0].id; each must be its own",
        "portico.yaml:3: keys[1].sha256: is the same as keys[0].sha256; each must be its own",
        f"portico.yaml:4: keys[2].id: {name}",
        *[f"portico.yaml:4: keys[2].permissions[{index}]: {permission}" for index in range(3)],
    ]


def test_layers_take_the_policy_keys_of_routes(read: Read, refused: Refused) -> None:
    text = """
        layers:
          public: {auth: none, require: [], limits: [{rate: 5/second}], headers: {}, cors: null, allow: [], deny: [],
                   body_bytes: 1KiB}
        """
    assert read(text).layers.public.body_bytes == 1024
    assert refused("layers: {app: {require: [a:b]}, mcp: {name: x}, pubic: {}}") == [
        "portico.yaml:1: layers.mcp.name: unknown key; allowed here: body_bytes, require, auth, allow, deny, limits, "
        "headers, cors",
        "portico.yaml:1: layers.pubic: unknown key; did you mean 'public'? allowed here: public, app, mcp, admin",
        f"portico.yaml:1: layers.app.require: {NEEDS_AUTH}",
    ]


def test_another_users_home_is_not_guessed(refused: Refused) -> None:
    message = "may begin with ~/ for your home; another user's needs its whole path"
    assert refused("data_dir: ~other/data") == [f"portico.yaml:1: data_dir: {message}"]


def test_plugins_of_the_routes_keys_stay_on(refused: Refused) -> None:
    assert refused("plugins: {limits: {enabled: false}, public: {enabled: false}}") == [
        "portico.yaml:1: plugins.limits.enabled: must be true: keys of routes are its work; leave those keys out"
    ]


def test_workers_may_share_limits_by_redis(read: Read) -> None:
    text = "server: {workers: 2}\nstate: {url: redis://127.0.0.1:6379/0}\n" + BASE + "    limits: [{concurrent: 5}]\n"
    assert read(text).server.workers == 2
