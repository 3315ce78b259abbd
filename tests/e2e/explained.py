"""Random configurations and random requests for them, for comparing explanations with what really happens."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from random import Random
from typing import Any

KEYS = {"ada": "pk_ada_0123456789", "bob": "pk_bob_0123456789", "root": "pk_root_0123456789"}
PERMISSIONS = {"ada": ["users:read"], "bob": ["users:read:7", "orders:*"], "root": ["*"]}
NEEDED = ["users:read", "users:write", "orders:list"]
HOSTS = ["a.example", "b.example", "x.b.example"]
CLIENTS = ["192.0.2.1", "192.0.2.7", "198.51.100.3", "2001:db8::1"]
ORIGINS = ["https://app.example", "https://evil.example"]
METHODS = ["GET", "GET", "GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PROPFIND"]
SHARED = ["/shared", "/shared/*", "/{any}/x", "/*"]  # paths that other routes' requests fit as well
# Slow enough that nothing refills between an explanation and its request.
RATES = ["1/hour", "3/hour", "2/day"]


@dataclass
class Sample:
    """One request: its head without the final empty line, and its body as it is sent."""

    method: str
    head: str
    body: bytes = b""
    body_bytes: int = 0
    held: bool = False  # the upstream answers only when it is told to
    fields: dict[str, str] = field(default_factory=dict)


def configuration(draw: Random, number: int, upstreams: dict[str, list[Any]]) -> dict[str, Any]:
    """A gateway's configuration; route names differ from those of other numbers, so that no count is shared."""
    server: dict[str, Any] = {"trusted_proxies": ["127.0.0.0/8"]}
    if draw.random() < 0.3:
        server["limits"] = {"header_bytes": "1KiB"}

    return {
        "server": server,
        "upstreams": {name: {"targets": targets} for name, targets in upstreams.items()},
        "keys": [
            {"id": name, "sha256": hashed(name), "permissions": PERMISSIONS[name], "tenant": "t" + name[:1]}
            for name in KEYS
        ],
        "routes": [route(draw, f"c{number}-r{place}", place, list(upstreams)) for place in range(draw.randint(3, 8))],
    }


def route(draw: Random, name: str, place: int, upstreams: list[str]) -> dict[str, Any]:
    """One route, with any of the policies."""
    own = f"/{name}"
    paths = [own, f"{own}/*"] if place >= len(SHARED) or draw.random() < 0.4 else [f"{own}/{{id}}", SHARED[place]]
    made: dict[str, Any] = {"name": name, "upstream": draw.choice(upstreams)}
    made["paths"] = paths
    likely(draw, made, 0.3, hosts=draw.sample([*HOSTS, "*.example"], 1))
    likely(draw, made, 0.3, methods=draw.sample(["GET", "POST", "PUT", "DELETE"], draw.randint(1, 3)))
    likely(draw, made, 0.5, body_bytes=draw.choice([0, 10, 100]))
    likely(draw, made, 0.2, allow=["192.0.2.0/24", "127.0.0.0/8"])
    likely(draw, made, 0.2, deny=["192.0.2.7/32"])
    likely(draw, made, 0.3, preserve_host=False, forward_credentials=True, websocket=False)
    if all(path.startswith(own) for path in made["paths"]):
        likely(draw, made, 0.2, strip_prefix=own)
    likely(draw, made, 0.3, cors={"origins": ORIGINS[:1], "methods": ["GET", "PUT"], "headers": ["content-type"]})
    likely(draw, made, 0.2, headers=edits(draw))
    likely(draw, made, 0.4, auth=["api_key"])
    if "auth" in made:
        likely(draw, made, 0.4, require=draw.sample(NEEDED, 1))
    likely(draw, made, 0.7, limits=limits(draw, "auth" in made))
    return made


def likely(draw: Random, made: dict[str, Any], chance: float, **more: Any) -> None:
    if draw.random() < chance:
        made.update(more)


def edits(draw: Random) -> dict[str, Any]:
    both = {"set": {"X-Set": "ours"}, "add": {"X-Add": "2"}, "remove": ["X-Remove"]}
    return {draw.choice(["request", "response"]): both}


def limits(draw: Random, keyed: bool) -> list[dict[str, Any]]:
    """One to three different limits."""
    whom = ["client", "route", "header:X-Who", *(["key", "tenant"] if keyed else [])]
    made: dict[str, dict[str, Any]] = {}
    for _ in range(draw.randint(1, 3)):
        kind = draw.choice(["rate", "window", "quota", "concurrent"])
        each = {
            "rate": {"rate": draw.choice(RATES), "burst": draw.randint(1, 3)},
            "window": {"window": f"{draw.randint(1, 4)}/hour"},
            "quota": {"quota": f"{draw.randint(1, 4)}/day"},
            "concurrent": {"concurrent": draw.randint(1, 2)},
        }[kind]
        made[kind] = {**each, "by": draw.choice(whom)}
    return list(made.values())


def sample(draw: Random, config: dict[str, Any], request_id: str) -> Sample:
    """A request that has something to do with the configuration, rightly framed or not."""
    made = draw.choice(config["routes"])
    path = draw.choice([*made["paths"] * 4, "/shared/x", "/nowhere", "/health/live", "/_portico/x"])
    path = path.replace("{id}", draw.choice(["7", "a%2Fb"])).replace("/*", draw.choice(["", "/", "/7", "/../x"])) or "/"
    method = draw.choice([*made.get("methods", METHODS) * 3, draw.choice(METHODS)])
    fields = {"Host": draw.choice([*made.get("hosts", HOSTS) * 3, *HOSTS]).replace("*", "z")}
    fields["X-Request-Id"] = request_id
    for chance, name, value in optional(draw):
        if draw.random() < chance:
            fields[name] = value
    result = Sample(method, "", fields=fields)
    _body(draw, result)
    query = draw.choice(["", "", "?a=1&b", "?q=%00"])
    result.head = f"{method} {path}{query} HTTP/1.1\r\n" + "\r\n".join(f"{k}: {v}" for k, v in fields.items())
    if draw.random() < 0.1:
        result.head = _broken(draw, result.head)
    result.held = not result.body and method in ("GET", "POST") and draw.random() < 0.3
    if result.held:
        result.head += "\r\nX-Hold: 1"
    return result


def optional(draw: Random) -> list[tuple[float, str, str]]:
    """(how likely, field name, value)."""
    key = draw.choice([*KEYS.values(), "pk_nobody"])
    return [
        (0.4, "X-API-Key", key),
        (0.2, "Authorization", f"Bearer {draw.choice([key, key, 'other'])}"),
        (0.5, "X-Forwarded-For", draw.choice(CLIENTS)),
        (0.3, "X-Who", draw.choice(["me", "you"])),
        (0.3, "Origin", draw.choice(ORIGINS)),
        (0.2, "Access-Control-Request-Method", draw.choice(["PUT", "PATCH"])),
        (0.2, "X-Remove", "1"),
        (0.1, "Cookie", "a=b"),
        (0.1, "Connection", "x-who"),
    ]


def _body(draw: Random, made: Sample) -> None:
    """Sometimes a body, by length or in chunks."""
    if draw.random() < 0.2 or made.method not in ("POST", "PUT", "DELETE"):
        return
    body = b"x" * draw.choice([10, 11, 100, 101])
    made.body_bytes = len(body)
    if draw.random() < 0.5:
        made.fields["Content-Length"] = str(len(body))
        made.body = body
    else:
        made.fields["Transfer-Encoding"] = "chunked"
        made.body = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body)


def _broken(draw: Random, head: str) -> str:
    """A head that no strict reader takes, or hardly."""
    return draw.choice(
        [
            head + "\r\nBad Name: 1",
            head + "\r\nHost: again.example",
            head + "\r\nContent-Length: 1\r\nTransfer-Encoding: chunked",
            head + "\r\nTransfer-Encoding: gzip",
            head + "\r\nExpect: wonders",
            head + "\r\nX-Long: " + "x" * draw.choice([900, 40_000]),
            head.replace(" /", " /%zz", 1),
            head.replace(" /", " /" + "x" * 9000, 1),
            head.replace("HTTP/1.1", draw.choice(["HTTP/1.0", "HTTP/2.0"]), 1),
            head.replace(" /", f" http://{draw.choice(HOSTS)}/", 1),
        ]
    )


def hashed(name: str) -> str:
    """The hash of one of KEYS, as a configuration has it."""
    return hashlib.sha256(KEYS[name].encode()).hexdigest()
