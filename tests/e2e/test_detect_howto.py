"""docs/how-to/detect.md: its examples, run as they stand against a gateway."""

from __future__ import annotations

import json
import os
import subprocess
from typing import Any

from tests.e2e.api import Api, within
from tests.e2e.walkthrough import ROOT, blocks

PAGE = ROOT / "docs/how-to/detect.md"


def test_the_examples_answer_as_the_page_says(api: Api) -> None:
    key = api.key("detect:use")["key"]

    def run(heading: str, at: int = 0, **more: str) -> Any:
        script = [block.text for block in blocks(PAGE, heading) if block.info == "sh"][at]
        script = script.replace("http://127.0.0.1:8771", api.gateway.url)
        environment = {**os.environ, "KEY": key, **more}
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", script], env=environment, capture_output=True, text=True, timeout=30
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    one = run("## One text")
    assert one["is_malicious"]
    assert one["reason"]
    assert one["metadata"] == {"user": "u-4711"}

    many = run("## Many at once")
    shown = json.loads(next(block.text for block in blocks(PAGE, "## Many at once") if block.info == "json"))
    assert many["counts"] == shown["counts"]
    assert many["errors"] == shown["errors"]
    assert [(each["id"], each["is_malicious"]) for each in many["results"]] == [
        (each["id"], each["is_malicious"]) for each in shown["results"]
    ]

    accepted = run("## In the background")
    assert run("## In the background") == accepted
    job = accepted["job_id"]
    within(30, lambda: run("## In the background", 1, JOB=job)["status"] == "succeeded")
    found = run("## In the background", 1, JOB=job)
    assert found["result"]["is_malicious"]
    assert found["result"]["metadata"] == {"order": 4711}
