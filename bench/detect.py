"""Detection over HTTP: what one core of the services answers, latency at a fixed rate, what is added to an engine's.

A further kind of request is one more of ITEMS. The services have the gateway's core; edge, engine and load the other.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any, Final

import load
from awake import awake
from gateways import upstream
from latency import NICE
from load import CONNECTIONS, Run, Runs
from openloop import percentiles
from portico.testing import GatewayHarness
from servers import GATEWAY_CORE, KEY, LOAD_CORE, Server, Watch, cpu, free_port

HERE: Final = Path(__file__).resolve().parent
OURS: Final = "portico"
WORDS: Final = (
    "Please summarise the attached report for the board, keep the tone factual, and list the three largest risks. "
)
TEXT: Final = (WORDS * 5)[:500]
CHAT: Final = {"model": "m", "messages": [{"role": "user", "content": TEXT}]}
ENGINE_MS: Final = 5.0
BOTH: Final = 200.0  # requests a second to an engine, through the gateway and directly
MEANWHILE: Final = 500.0  # texts a second that are judged while a plain route is asked


@dataclass(frozen=True)
class Item:
    """What is asked: `body` at `path`, as fast as can be and then `rate` times a second.

    `guarded`: at a route of the gateway whose bodies a guard has judged before an upstream gets them. `plain`: a GET of
    a route of the gateway, and of its upstream directly, while /v1/detect is asked `MEANWHILE` times a second.
    With `engine` the gateway asks an engine that takes 5 ms, and the same requests go to that directly as well. All
    ask the same, so answers are given again only where `cached` says so.
    """

    name: str
    rate: float = 1000.0
    path: str = "/v1/detect"
    body: dict[str, Any] = field(default_factory=lambda: {"text": TEXT})
    config: dict[str, Any] = field(default_factory=dict)
    engine: bool = False
    cached: bool = False
    guarded: bool = False
    plain: bool = False


ITEMS: Final = (
    Item("embedded, 500 characters"),
    Item("cached, 500 characters", cached=True),
    Item("engine of 5 ms", rate=BOTH, engine=True),
    Item("chat route with a guard", rate=BOTH, path="/chat", body=CHAT, guarded=True),
    Item("plain route meanwhile", path="/users/1", body={}, plain=True),
)


def measure(folder: Path, rounds: int, seconds: float) -> Runs:
    """The runs of every item."""
    found: Runs = {}
    for item in ITEMS:
        some = [once(item, folder, seconds) for _ in range(rounds)]
        found[item.name] = {OURS: some}
        rate, p99 = (median(each[key] for each in some) for key in ("requests_per_second", "p99_ms"))
        print(f"  {item.name:<28} {rate:,.0f}/s, p99 {p99:.2f} ms at {item.rate:,.0f}/s", flush=True)
    return found


def once(item: Item, folder: Path, seconds: float) -> Run:
    """One run against a gateway of its own."""
    if item.plain:
        return _plain(item, folder, seconds)
    body = folder / "detect.json"
    body.write_text(json.dumps(item.body))
    with contextlib.ExitStack() as stack:
        detection: dict[str, Any] = {} if item.cached else {"cache": {"ttl": "0s"}}
        config = {"detection": detection, **item.config, "keys": [_key()]}
        if item.guarded:
            config.update(_guarded(stack.enter_context(upstream(folder)).port))
        engine = stack.enter_context(_engine(folder)) if item.engine else None
        if engine is not None:
            detection["engines"] = [{"name": "stub", "url": f"http://127.0.0.1:{engine.port}"}]
        gateway = stack.enter_context(GatewayHarness(config))
        services = _placed(gateway)
        _wrk(gateway.port, item.path, body, 1)
        with Watch() as watch:
            before = cpu([services])
            result = _wrk(gateway.port, item.path, body, seconds)
            result["cpu_ms"] = (cpu([services]) - before) / result["requests"] * 1000
            result.update(_open_loop(gateway.port, item, body, seconds))
            if engine is not None:
                result["added_ms"] = result["p50_ms"] - _open_loop(engine.port, item, body, seconds)["p50_ms"]
        return {**result, "foreign": watch.foreign}


def _plain(item: Item, folder: Path, seconds: float) -> Run:
    """Latency of a route that has nothing to do with detection, through a gateway whose services judge meanwhile."""
    body = folder / "detect.json"
    body.write_text(json.dumps({"text": TEXT}))
    with contextlib.ExitStack() as stack:
        port = stack.enter_context(upstream(folder)).port
        route = {"name": "plain", "paths": [item.path], "upstream": "up", "auth": ["api_key"]}
        config = {"detection": {"cache": {"ttl": "0s"}}, "keys": [_key()], "routes": [route]}
        config["upstreams"] = {"up": {"targets": [f"http://127.0.0.1:{port}"]}}
        gateway = stack.enter_context(GatewayHarness(config))
        services = _placed(gateway)
        _wrk(gateway.port, "/v1/detect", body, 1)
        with Watch() as watch, awake():
            before = cpu([services])
            texts = subprocess.Popen(
                _command(gateway.port, "/v1/detect", MEANWHILE, 2 * seconds + 2, body),
                stdout=subprocess.PIPE,
                text=True,
            )
            try:
                time.sleep(0.5)
                result, direct = (_latency(each, item.path, item.rate, seconds) for each in (gateway.port, port))
                judged = json.loads(texts.communicate(timeout=60)[0])
            finally:
                texts.kill()
        result["requests_per_second"] = item.rate
        result["cpu_ms"] = (cpu([services]) - before) / judged["requests"] * 1000
        return {**result, "added_p99_ms": result["p99_ms"] - direct["p99_ms"], "foreign": watch.foreign}


def _guarded(target: int) -> dict[str, Any]:
    route = {"name": "chat", "paths": ["/chat"], "upstream": "up", "guard": {"detect": "prompt_injection"}}
    return {"upstreams": {"up": {"targets": [f"http://127.0.0.1:{target}"]}}, "routes": [route]}


def _key() -> dict[str, Any]:
    return {"id": "bench", "sha256": hashlib.sha256(KEY.encode()).hexdigest(), "permissions": ["detect:use"]}


@contextlib.contextmanager
def _engine(folder: Path) -> Iterator[Server]:
    port = free_port()
    command = [sys.executable, str(HERE / "engine.py"), str(port), str(ENGINE_MS)]
    with Server("engine", command, folder, port, core=LOAD_CORE) as server:
        yield server


def _placed(gateway: GatewayHarness) -> int:
    """The services on the gateway's core, the edge on the other; the services' process id."""
    pids = {each["role"]: int(each["pid"]) for each in gateway.status()["processes"]}
    for role, core in (("services", GATEWAY_CORE), ("edge", LOAD_CORE)):
        for task in Path(f"/proc/{pids[role]}/task").iterdir():
            os.sched_setaffinity(int(task.name), {int(core)})
    return pids["services"]


def _wrk(port: int, path: str, body: Path, seconds: float) -> Run:
    """As many requests as are answered; RuntimeError when one is not 2xx."""
    command = [
        "taskset",
        "-c",
        LOAD_CORE,
        "wrk",
        "-t1",
        f"-c{CONNECTIONS}",
        f"-d{max(1, round(seconds))}s",
        "--latency",
    ]
    command += ["-s", str(HERE / "post.lua"), f"http://127.0.0.1:{port}{path}"]
    env = {**os.environ, "BODY": str(body), "KEY": KEY}
    output = subprocess.run(command, env=env, check=True, capture_output=True, text=True).stdout
    found = load.parse(output, OURS, 0.0)
    return {name: found[name] for name in ("requests_per_second", "requests")}


def _open_loop(port: int, item: Item, body: Path, seconds: float) -> Run:
    """Percentiles in ms at the item's rate."""
    with awake():
        return _latency(port, item.path, item.rate, seconds, body)


def _latency(port: int, path: str, rate: float, seconds: float, body: Path | None = None) -> Run:
    ran = subprocess.run(_command(port, path, rate, seconds, body), check=True, capture_output=True, text=True)
    found: Run = json.loads(ran.stdout)
    return {name: found[name] for name in (*percentiles([0.0]), "late_p99_ms")}


def _command(port: int, path: str, rate: float, seconds: float, body: Path | None) -> list[str]:
    command = ["nice", "-n", str(NICE), "taskset", "-c", LOAD_CORE, sys.executable, str(HERE / "openloop.py")]
    command += ["--port", str(port), "--path", path, "--key", KEY, "--rate", str(rate), "--seconds", str(seconds)]
    return command if body is None else [*command, "--body", str(body)]
