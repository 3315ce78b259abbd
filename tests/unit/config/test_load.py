"""Every mistake at once, with file, line, path, what is wrong and what is allowed."""

from __future__ import annotations

import pytest

from portico.config import load_file

from .conftest import BASE, Read, Refused

HASH = "ab" * 32


def test_no_file_is_all_defaults() -> None:
    settings = load_file(None, env={"HOME": "/home/x"})
    assert (settings.server.host, settings.server.port, settings.server.workers) == ("127.0.0.1", 8771, 1)
    assert settings.server.limits.header_bytes == 32 * 1024
    assert settings.server.limits.body_bytes == 16 * 2**20
    assert settings.server.limits.buffered == 256 * 2**20
    assert (settings.server.limits.header_timeout, settings.server.limits.idle_timeout) == (10.0, 75.0)
    assert settings.data_dir == "/home/x/.portico"
    assert settings.source == "defaults"


def test_empty_sections_are_defaults(read: Read) -> None:
    settings = read("server:\nlog:\nupstreams:\nkeys:\nroutes:\nlayers:\nplugins:\n")
    assert settings.server.port == 8771
    assert settings.routes == []


def test_everything_wrong_is_told_at_once(refused: Refused) -> None:
    text = """\
        server:
          prot: 80
          workers: 0
          limits: {header_bytes: 1, drain: 5}
        upstreams:
          users: {targets: ["http://127.0.0.1:1", ftp://x], balanc: fast}
          other:
            targets: http://127.0.0.1:1
        keys:
          - {id: a, sha256: zz}
        routes:
          - name: users
            paths: [/a, /b/../c]
            upstream: user
            require: [a:b]
            limits:
              - {rate: 6/min}
              - {window: 5/minute, by: key}
              - {rat: 5/minute, by: nobody}
              - {by: key}
          - name: users
            paths: [/a]
            upstreem: users
            cors: {origins: ["*"], credentials: true}
        surprise: 1
        """
    assert refused(text) == [
        "portico.yaml:2: server.prot: unknown key; did you mean 'port'? allowed here: host, port, listen, workers, "
        "services, trusted_proxies, proxy_protocol, tls, limits",
        "portico.yaml:3: server.workers: must be a whole number from 1 to 256",
        "portico.yaml:4: server.limits.header_bytes: must be a size from 1KiB to 1MiB",
        "portico.yaml:4: server.limits.drain: must be a duration with a unit, such as 500ms, 10s, 5m or 1h",
        "portico.yaml:6: upstreams.users.targets[1]: must be http://HOST:PORT or https://HOST:PORT without path, "
        "user or query, or unix:/ABSOLUTE/PATH",
        "portico.yaml:6: upstreams.users.balanc: unknown key; did you mean 'balance'? allowed here: targets, balance, "
        "timeouts, retries, breaker, health, pool, tls",
        "portico.yaml:6: upstreams.users.balance: must be round_robin, least_requests, hash:header:NAME, "
        "hash:cookie:NAME or hash:client",
        "portico.yaml:8: upstreams.other.targets: must be a list, such as [one, two]",
        "portico.yaml:10: keys[0].sha256: must be the key's SHA-256 as 64 hex digits",
        "portico.yaml:13: routes[0].paths[1]: has a dot segment; requests are matched with dot segments resolved",
        "portico.yaml:14: routes[0].upstream: is not the name of an upstream; did you mean 'users'?",
        "portico.yaml:15: routes[0].require: needs auth: [api_key]; with auth: none no caller is known",
        "portico.yaml:17: routes[0].limits[0].rate: must be a rate such as 600/minute: a count, / and second, minute, "
        "hour or day",
        "portico.yaml:19: routes[0].limits[2].by: must be key, client, route, tenant, principal or header:NAME",
        "portico.yaml:19: routes[0].limits[2].rat: unknown key; did you mean 'rate'? allowed here: by, "
        "on_store_failure, cost, rate, burst",
        "portico.yaml:20: routes[0].limits[3]: must be one of {rate: …}, {window: …}, {quota: …} and {concurrent: …}",
        "portico.yaml:21: routes[1].name: is the same as routes[0].name; each must be its own",
        "portico.yaml:22: routes[1].paths[0]: matches the same requests as a path of routes[0]; set them apart by "
        "hosts or methods",
        "portico.yaml:23: routes[1].upstreem: unknown key; did you mean 'upstream'? allowed here: body_bytes, require, "
        "auth, allow, deny, limits, headers, cors, name, hosts, paths, methods, upstream, strip_prefix, buffer, "
        "timeouts, websocket, preserve_host, forward_credentials, guard, policies",
        'portico.yaml:24: routes[1].cors.origins: has "*" together with credentials: true; name them one by one',
        "portico.yaml:25: surprise: unknown key; allowed here: server, data_dir, log, upstreams, keys, routes, layers, "
        "storage, backups, usage, audit, state, tracing, jobs, outbound, detection, registration, tokens, roles, "
        "certificates, identity, plugins",
    ]


def test_missing_keys_are_told_at_their_item(refused: Refused) -> None:
    text = "routes:\n  - name: a\n  - {}\nkeys:\n  - id: x\n"
    assert refused(text) == [
        "portico.yaml:2: routes[0].paths: is required",
        "portico.yaml:2: routes[0].upstream: is required",
        "portico.yaml:3: routes[1].name: is required",
        "portico.yaml:3: routes[1].paths: is required",
        "portico.yaml:3: routes[1].upstream: is required",
        "portico.yaml:5: keys[0].sha256: is required",
    ]


def test_what_is_bad_is_not_also_missing(refused: Refused) -> None:
    assert refused("upstreams: {a: {targets: [x]}}\nroutes: [{name: '-', paths: [/a], upstream: a}]") == [
        "portico.yaml:1: upstreams.a.targets[0]: must be http://HOST:PORT or https://HOST:PORT without path, user "
        "or query, or unix:/ABSOLUTE/PATH",
        "portico.yaml:2: routes[0].name: must be a name: up to 64 letters, digits, '_', '-' and '.', not beginning "
        "with '-' or '.'",
    ]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("server: []", "server: must be a mapping"),
        ("routes: {}", "routes: must be a list, such as [one, two]"),
        ("routes: [5]", "routes[0]: must be a mapping"),
        ("upstreams: []", "upstreams: must be a mapping"),
        ("upstreams: {a: 5}", "upstreams.a: must be a mapping"),
        ("plugins: {a: 5}", "plugins.a: must be a mapping"),
        ("plugins: {a: {enabled: 1}}", "plugins.a.enabled: must be true or false"),
        ("server: {port: true}", "server.port: must be a whole number from 0 to 65535"),
        ("server: {port: 1.0}", "server.port: must be a whole number from 0 to 65535"),
        ("server: {port: null}", "server.port: must be a whole number from 0 to 65535"),
        ("log: {level: warn}", "log.level: must be debug or info or warning or error; did you mean 'warning'?"),
        ('"odd key\\n": 1', '"odd key\\n": unknown key; allowed here: '),
    ],
)
def test_kinds(refused: Refused, text: str, message: str) -> None:
    (problem,) = refused(text)
    assert problem.startswith(f"portico.yaml:1: {message}")


def test_overrides_win_and_are_checked(read: Read, refused: Refused) -> None:
    settings = read(
        "server: {port: 1}", {"server.port": 2, "server.workers": 3, "server.host": None, "log.level": "debug"}
    )
    assert (settings.server.port, settings.server.workers, settings.server.host) == (2, 3, "127.0.0.1")
    assert settings.log.level == "debug"
    assert refused("server: {port: x, host: 1}", {"server.port": 70000}) == [
        "command line:1: server.port: must be a whole number from 0 to 65535",
        "portico.yaml:1: server.host: must be an address or name to listen on, such as 127.0.0.1, 0.0.0.0, :: or "
        "localhost",
    ]
    assert refused("{}", {"server.prot": 1})[0].startswith(
        "command line:1: server.prot: unknown key; did you mean 'port'?"
    )


def test_problems_found_later_have_lines_too(read: Read) -> None:
    settings = read("log: {}\nplugins:\n  own:\n    depth: 1\n")
    assert (
        str(settings.problem(("plugins", "own", "depth"), "is wrong")) == "portico.yaml:4: plugins.own.depth: is wrong"
    )
    assert str(settings.problem(("plugins", "own", "gone"), "is wrong")) == "portico.yaml:3: plugins.own.gone: is wrong"


def test_a_flood_of_mistakes_is_cut(refused: Refused) -> None:
    problems = refused("routes: [" + "1, " * 5000 + "]")
    assert len(problems) == 1001
    assert "portico.yaml:1: (file): has 5000 mistakes; the first 1000 are shown" in problems


def test_upstreams_with_mistakes_still_exist(refused: Refused) -> None:
    assert len(refused(BASE.replace("9000", "99999"))) == 1
