"""A disk that takes nothing more: requests flow, what is lost is counted, and writing goes on when there is room.

A limit on the size of files (RLIMIT_FSIZE) stands for the disk: it can be set on a running process, without root.
"""

from __future__ import annotations

import json
import os
import re
import resource
import socket
import time
from pathlib import Path
from typing import Any

from tests.chaos.load import Load

from portico.testing import FakeUpstream, GatewayHarness, Reader, wait_for


def config(upstream: FakeUpstream) -> dict[str, Any]:
    return {
        "server": {"listen": [{"host": "127.0.0.1", "port": 0, "metrics": True}]},
        "upstreams": {"users": {"targets": [upstream.url]}},
        "routes": [{"name": "users", "paths": ["/users/*"], "upstream": "users"}],
    }


def dropped(gateway: GatewayHarness) -> int:
    port = int(gateway.status()["listeners"][1].rpartition(":")[2])
    with socket.create_connection(("127.0.0.1", port), 5) as sock:
        sock.sendall(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        found = re.search(r"^portico_access_log_dropped_total (\S+)", Reader(sock).answer().body.decode(), re.M)
    assert found is not None
    return int(float(found[1]))


def full(gateway: GatewayHarness, size: int) -> None:
    """No process of this gateway may make a file longer than `size` bytes."""
    for pid in (gateway.pid, *(each["pid"] for each in gateway.status()["processes"])):
        hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)[1]
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (size, hard))


def log_of(gateway: GatewayHarness) -> Path:
    return Path(gateway.data_dir / "logs" / "access.log")


def lines(gateway: GatewayHarness) -> list[str]:
    """Of the routes' log: those of /metrics itself are left out."""
    return [line for line in log_of(gateway).read_text().splitlines() if '"path":"/metrics"' not in line]


def whole(gateway: GatewayHarness) -> int:
    """Lines about the load that can be read."""
    return sum(1 for line in lines(gateway) if line.endswith("}") and json.loads(line)["route"] == "users")


def test_serving_goes_on_and_what_is_lost_is_counted() -> None:
    with FakeUpstream() as upstream, GatewayHarness(config(upstream)) as gateway:
        with Load(gateway, kept=2, fresh=2) as load:
            load.more(50)
            full(gateway, os.path.getsize(log_of(gateway)) + 5000)
            load.more(300)
            wait_for(lambda: os.path.getsize(log_of(gateway)) >= 5000)
            load.more(300)
            full(gateway, resource.RLIM_INFINITY)
            time.sleep(0.5)
            load.more(100)
        assert load.failed() == []
        wait_for(lambda: whole(gateway) + dropped(gateway) == load.count)
        assert dropped(gateway) > 100
        assert len(lines(gateway)) - whole(gateway) <= 1, "a line that did not fit spoils no other"


def test_the_gateway_says_what_it_has_to_say_again_when_there_is_room() -> None:
    """Its own log, standard error, is on the full disk too; a reload, a restart and a stop work all the same."""
    with FakeUpstream() as upstream, GatewayHarness(config(upstream)) as gateway:
        full(gateway, 1)
        gateway.reload()
        assert gateway.request("GET", "/users/1").status == 200
        assert "the configuration was reloaded" not in gateway.output()
        full(gateway, resource.RLIM_INFINITY)
        gateway.reload()
        wait_for(lambda: "the configuration was reloaded" in gateway.output())
        assert gateway.stop() == 0
