"""How long a key goes on working after the answer that revoked it: until the last of four workers refuses it."""

from __future__ import annotations

import contextlib
import http.client
import json
import secrets
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Final

from gateways import Shape, portico, upstream
from load import Run
from servers import Server, Watch
from shared import WORKERS, running

CONNECTIONS: Final = 24  # kept, so that each worker has some
REVOKED: Final = 50
QUICK: Final = 5
LONGEST: Final = 30.0  # seconds
PAUSE: Final = 0.005  # seconds between two requests of a connection


def measure(folder: Path, rounds: int) -> list[Run]:
    """One run a round: p50 and the longest of so many revocations, in ms."""
    with contextlib.ExitStack() as stack:
        target = stack.enter_context(upstream(folder))
        redis = stack.enter_context(running(folder))
        server = portico(folder, target.port, Shape(workers=WORKERS, redis=redis.port, spread=True, proxied=True))
        stack.enter_context(server)
        server.wait("/health/ready")
        admin = (folder / server.log.partition("/")[0] / "gateway_token").read_text().strip()
        runs = []
        for turn in range(rounds):
            with Watch() as watch:
                delays = sorted(once(server, admin) for _ in range(REVOKED if rounds > 1 else QUICK))
            run = {"p50_ms": delays[len(delays) // 2], "max_ms": delays[-1], "count": float(len(delays))}
            runs.append({**run, "foreign": watch.foreign})
            print(f"  {turn + 1}/{rounds}  p50 {run['p50_ms']:.0f} ms, longest {run['max_ms']:.0f} ms", flush=True)
    return runs


def once(server: Server, admin: str) -> float:
    """Make a key, let every worker know it, revoke it; ms from the answer until the last connection is refused."""
    body = json.dumps({"name": "bench", "rate_limit_per_minute": 0, "rate_limit_per_day": 0})
    with contextlib.ExitStack() as stack:
        links = [_link(server, stack) for _ in range(CONNECTIONS)]
        made = json.loads(_ask(links[0], "POST", "/api/v1/admin/keys", admin, body)[1])
        while not all(_ask(link, "GET", "/users/1", made["key"])[0] == 200 for link in links):
            time.sleep(0.01)
        with ThreadPoolExecutor(CONNECTIONS) as pool:
            refused = [pool.submit(_refused, link, made["key"]) for link in links[1:]]
            status, _ = _ask(links[0], "DELETE", f"/api/v1/admin/keys/{made['id']}", admin)
            revoked = time.monotonic()
            if status not in (200, 204):
                raise RuntimeError(f"the key was not revoked: {status}")
            return max(0.0, max(each.result() for each in refused) - revoked) * 1000


def _refused(link: http.client.HTTPConnection, key: str) -> float:
    """Ask until it is refused: when that request was sent. It is answered up to a beat later."""
    until = time.monotonic() + LONGEST
    while (sent := time.monotonic()) < until:
        if _ask(link, "GET", "/users/1", key)[0] == 401:
            return sent
        time.sleep(PAUSE)
    raise RuntimeError("a revoked key goes on working")


def _link(server: Server, stack: contextlib.ExitStack) -> http.client.HTTPConnection:
    link = http.client.HTTPConnection("127.0.0.1", server.port, timeout=10)
    stack.enter_context(contextlib.closing(link))
    return link


def _ask(link: http.client.HTTPConnection, method: str, path: str, key: str, body: str = "") -> tuple[int, Any]:
    somewhere = f"10.{secrets.randbelow(256)}.{secrets.randbelow(256)}.1"  # who is refused often is slowed
    fields = {"X-API-Key": key, "X-Forwarded-For": somewhere, **({"Content-Type": "application/json"} if body else {})}
    link.request(method, path, body or None, fields)
    answer = link.getresponse()
    return answer.status, answer.read()
