"""Several services processes: all of them serve, and one that dies or is replaced is not missed."""

from __future__ import annotations

import os
import signal
from typing import Any

import pytest
from tests.chaos.load import Load

from portico.testing import GatewayHarness, wait_for

OURS = "/api/v1/public/status"


def config(services: int, workers: int = 1) -> dict[str, Any]:
    return {"server": {"workers": workers, "services": {"processes": services}}}


def services(gateway: GatewayHarness) -> list[dict[str, Any]]:
    return [dict(each) for each in gateway.status()["processes"] if each["role"] == "services"]


def test_three_processes_serve_and_one_that_is_killed_is_replaced_while_the_others_go_on() -> None:
    with GatewayHarness(config(3)) as gateway:
        wait_for(lambda: _all_serve(gateway), 20)
        with Load(gateway, OURS, kept=12, fresh=2) as load:
            load.more(100)
            killed = services(gateway)[1]["pid"]
            os.kill(killed, signal.SIGKILL)
            wait_for(lambda: killed not in [each["pid"] for each in services(gateway)], 10)
            load.more(200)
            wait_for(lambda: [each["state"] for each in services(gateway)] == ["ready"] * 3, 10)
            settled = load.count
            load.more(200)
        failed = load.failed()
        assert len(failed) <= 14, "no more than what was in flight in it"
        assert {each.status for each in failed} <= {502, 503}
        assert all(each.status == 200 for each in load.outcomes[settled:])
        assert services(gateway)[1]["restarts"] == 1


def _all_serve(gateway: GatewayHarness) -> bool:
    """Ask from many connections at once; whether each process has had a share. One may have been late to its start."""
    with Load(gateway, OURS, kept=24, fresh=2) as load:
        load.more(300)
    assert load.failed() == []
    shares = [each["requests"] for each in services(gateway)]
    return len(shares) == 3 and min(shares) >= 10


@pytest.mark.parametrize("workers", [1, 2])
def test_a_restart_replaces_one_after_the_other_and_no_request_is_lost(workers: int) -> None:
    with GatewayHarness(config(2, workers)) as gateway:
        before = {each["pid"] for each in services(gateway)}
        with Load(gateway, OURS, kept=4, fresh=2) as load:
            load.more(100)
            done = gateway.cli("restart")
            assert done.returncode == 0, done.stderr
            load.more(100)
        assert load.failed() == [], gateway.output()
        steps = [line for line in done.stdout.splitlines() if line.startswith("services")]
        assert [line.split(":")[0] for line in steps] == ["services 0"] * 4 + ["services 1"] * 4
        assert not before & {each["pid"] for each in services(gateway)}


def test_a_reload_reaches_every_process() -> None:
    with GatewayHarness(config(3)) as gateway:
        gateway.rewrite({**config(3), "plugins": {"public": {"enabled": False}}})
        gateway.reload()
        assert [each["version"] for each in services(gateway)] == [2, 2, 2]
        assert all(gateway.request("GET", OURS).status == 404 for _ in range(6))
