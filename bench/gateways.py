"""The gateways of the benchmark, each with the policies as like as its product allows. All on loopback."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import peers
from servers import BOTH_CORES, GATEWAY_CORE, KEY, LOAD_CORE, Server, free_port

HERE: Final = Path(__file__).resolve().parent
TEMPLATES: Final = HERE / "templates"
KEYS: Final = 1000  # that each gateway knows
BODY: Final = json.dumps({"id": 42, "name": "Ada Lovelace", "tags": ["a", "b"], "note": "x" * 105})  # 171 bytes
SIZES: Final = {"10KiB": 10 * 1024, "1MiB": 1024 * 1024}


@dataclass(frozen=True)
class Shape:
    """What a gateway is set up with. `routes` 0: one route, /users/; else /r0/, /r1/ … . `burn`: with the plugin in
    bench/plugin. `spread`: on both cores. `workers`: processes that forward. `redis`: the port where Portico's count
    their limits. `proxied`: the client's address is told by a proxy. `usage`: Portico counts it."""

    policies: bool = True
    routes: int = 0
    tls: bool = False
    burn: bool = False
    spread: bool = False
    workers: int = 1
    redis: int = 0
    proxied: bool = False
    usage: bool = True

    @property
    def path(self) -> str:
        return "/r0/1" if self.routes else "/users/1"

    @property
    def prefixes(self) -> list[str]:
        return [f"/r{n}/" for n in range(self.routes)] or ["/users/"]

    @property
    def core(self) -> str:
        return BOTH_CORES if self.spread else GATEWAY_CORE


Make = Callable[[Path, int, Shape], Server]


def fill(template: str, **values: object) -> str:
    """The template with each <<name>> replaced; one that stands alone on its line keeps its indentation."""
    text = (TEMPLATES / template).read_text()
    for name, value in values.items():
        written = str(value).rstrip("\n")
        lines = []
        for line in text.split("\n"):
            indent = line[: len(line) - len(line.lstrip())]
            lines.append(line.replace(f"<<{name}>>", written.replace("\n", "\n" + indent)))
        text = "\n".join(lines)
    return text


def keys_of() -> list[tuple[str, str]]:
    """The keys that the gateways know: name, key."""
    return [("bench", KEY), *((f"other-{n}", f"other-key-{n:06d}-0123456789ab") for n in range(KEYS - 1))]


def upstream(folder: Path) -> Server:
    """A second nginx: 200 with 171 bytes and eight fields; `?n=…` gives another ETag each time; two larger files."""
    files = folder / "files"
    files.mkdir(exist_ok=True)
    for name, size in SIZES.items():
        (files / name).write_bytes(b"x" * size)
        (files / name).chmod(0o644)  # nginx's workers are somebody else when root starts it
    files.chmod(0o755)
    folder.chmod(0o711)
    port = free_port()
    config = folder / "upstream.conf"
    config.write_text(fill("upstream.conf", dir=folder, port=port, body=BODY))
    return Server("upstream", ["nginx", "-p", str(folder), "-c", str(config)], folder, port, core=LOAD_CORE)


def nginx(folder: Path, target: int, shape: Shape) -> Server:
    """nginx: key map, limit_req, a JSON access log, a request id."""
    port = free_port()
    name = f"nginx-{port}"
    guard = 'if ($key_name = "") { return 401; } ' if shape.policies else ""
    locations = "\n".join(f"location {p} {{ {guard}proxy_pass http://backend; }}" for p in shape.prefixes)
    text = fill(
        "nginx.conf",
        dir=folder,
        name=name,
        port=port,
        upstream=target,
        workers=shape.workers,
        log=f"{folder}/{name}.access.log line buffer=64k flush=1s" if shape.policies else "off",
        keys=" ".join(f'"{key}" "{key_id}";' for key_id, key in keys_of()) if shape.policies else "",
        tls=f" ssl; ssl_certificate {folder}/cert.pem; ssl_certificate_key {folder}/key.pem" if shape.tls else "",
        policies=fill("nginx-policies.conf") if shape.policies else "",
        locations=locations,
    )
    config = folder / f"{name}.conf"
    config.write_text(text)
    command = ["nginx", "-p", str(folder), "-c", str(config)]
    log = f"{name}.access.log" if shape.policies else ""
    return Server("nginx", command, folder, port, tls=shape.tls, path=shape.path, log=log)


def haproxy(folder: Path, target: int, shape: Shape) -> Server:
    """HAProxy: key map, stick table with a rate, a JSON log, a request id."""
    port = free_port()
    (folder / "haproxy.map").write_text("".join(f"{key} {key_id}\n" for key_id, key in keys_of()))
    policies = fill("haproxy-policies.cfg", dir=folder) if shape.policies else ""
    tls = f" ssl crt {folder}/both.pem no-tls-tickets" if shape.tls else ""
    config = folder / f"haproxy-{port}.cfg"
    config.write_text(fill("haproxy.cfg", port=port, upstream=target, policies=policies, tls=tls))
    log = f"haproxy-{port}.output" if shape.policies else ""  # it logs to its standard output
    return Server("haproxy", ["haproxy", "-db", "-f", str(config)], folder, port, tls=shape.tls, log=log)


def caddy(folder: Path, target: int, shape: Shape) -> Server:
    """Caddy forwarding, nothing else."""
    port = free_port()
    config = folder / f"Caddyfile-{port}"
    config.write_text(fill("Caddyfile", port=port, upstream=target))
    env = {"GOMAXPROCS": "1", "HOME": str(folder), "XDG_DATA_HOME": str(folder), "XDG_CONFIG_HOME": str(folder)}
    command = ["caddy", "run", "--adapter", "caddyfile", "--config", str(config)]
    return Server("caddy", command, folder, port, env=env)


def envoy(folder: Path, target: int, shape: Shape) -> Server:
    """Envoy: api_key_auth, local_ratelimit, a JSON access log, a request id."""
    port = free_port()
    keys = ", ".join(f"{{key: {key}, client: {key_id}}}" for key_id, key in keys_of())
    echo = 'response_headers_to_add: [{header: {key: X-Request-Id, value: "%REQ(X-REQUEST-ID)%"}}]'
    text = fill(
        "envoy.yaml",
        manager=fill("envoy-manager.yaml", log=f"{folder}/envoy-{port}.access.log") if shape.policies else "",
        filters=fill("envoy-filters.yaml", keys=keys) if shape.policies else "",
        tls=fill("envoy-tls.yaml", dir=folder) if shape.tls else "",
        host=echo if shape.policies else "",
        port=port,
        upstream=target,
    )
    config = folder / f"envoy-{port}.yaml"
    config.write_text(text)
    binary = peers.envoy()
    assert binary is not None
    command = [binary, "-c", str(config), "--concurrency", "1", "--disable-hot-restart", "--log-level", "error"]
    log = f"envoy-{port}.access.log" if shape.policies else ""
    return Server("envoy", command, folder, port, tls=shape.tls, log=log)


def portico(folder: Path, target: int, shape: Shape, compiled: bool = True) -> Server:
    """Portico, one edge worker, as `portico up` starts it."""
    port = free_port()
    mode = "compiled" if compiled else "interpreted"
    home = f"portico-{port}"
    policies = ", auth: [api_key], limits: [{rate: 1000000/second, burst: 1000000, by: key}]" if shape.policies else ""
    routes = [
        f"  - {{name: r{n}, paths: ['{prefix}*'], upstream: users{policies}}}"
        for n, prefix in enumerate(shape.prefixes)
    ]
    plugins = ["bench_burn: {}"] * shape.burn + ["usage: {enabled: false}"] * (not shape.usage)
    digests = [(key_id, hashlib.sha256(key.encode()).hexdigest()) for key_id, key in keys_of()]
    text = fill(
        "portico.yaml",
        port=port,
        tls=f"cert: {folder}/cert.pem, key: {folder}/key.pem" if shape.tls else "",
        home=folder / home,
        upstream=target,
        keys="\n".join(f"  - {{id: {key_id}, sha256: {digest}}}" for key_id, digest in digests),
        routes="\n".join(routes),
        plugins=", ".join(plugins),
        workers=shape.workers,
        proxies="127.0.0.1" if shape.proxied else "",
        state=f'url: "redis://127.0.0.1:{shape.redis}/0", wait: 1s' if shape.redis else "",
    )
    config = folder / f"{home}.yaml"
    config.write_text(text)
    env = {"PORTICO_COMPILED": "1" if compiled else "0"}
    if shape.burn:
        env["PYTHONPATH"] = f"{HERE / 'plugin'}{os.pathsep}{registered(folder)}"
    command = [sys.executable, "-m", "portico", "up", "-c", str(config)]
    log = f"{home}/logs/*access*"
    return Server(
        f"portico {mode}", command, folder, port, core=shape.core, env=env, tls=shape.tls, path=shape.path, log=log
    )


def registered(folder: Path) -> Path:
    """A folder that, in the module path, makes the plugin in bench/plugin an installed one."""
    site = folder / "site"
    home = site / "bench_burn-1.0.dist-info"
    home.mkdir(parents=True, exist_ok=True)
    (home / "METADATA").write_text("Metadata-Version: 2.1\nName: bench-burn\nVersion: 1.0\n")
    (home / "entry_points.txt").write_text("[portico.plugins]\nbench_burn = bench_burn:Burn\n")
    return site


def interpreted(folder: Path, target: int, shape: Shape) -> Server:
    """Portico without its compiled modules."""
    return portico(folder, target, shape, compiled=False)


MAKERS: Final[dict[str, Make]] = {
    "nginx": nginx,
    "haproxy": haproxy,
    "caddy": caddy,
    "envoy": envoy,
    "portico compiled": portico,
    "portico interpreted": interpreted,
}


def available(names: tuple[str, ...]) -> list[str]:
    """Those of the names that are installed here, in their order."""
    gone = peers.skipped()
    return [name for name in names if name not in gone]


def certificate(folder: Path) -> None:
    """A self-signed P-256 certificate: cert.pem, key.pem, and both.pem for HAProxy."""
    openssl = shutil.which("openssl")
    assert openssl is not None
    command = [openssl, "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    command += ["-subj", "/CN=api.example.org", "-days", "2"]
    command += ["-keyout", str(folder / "key.pem"), "-out", str(folder / "cert.pem")]
    subprocess.run(command, check=True, capture_output=True)
    (folder / "both.pem").write_text((folder / "cert.pem").read_text() + (folder / "key.pem").read_text())
