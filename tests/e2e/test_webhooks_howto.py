"""docs/how-to/webhooks.md: every example that can be run here verifies a real message, and refuses altered ones.

Node runs JavaScript only, so the types of the TypeScript example are taken out; Go's can't be run here.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

import pytest
from tests.e2e.walkthrough import ROOT, blocks
from tests.services import missing

from portico.identity import webhooks
from portico.services.webhooks import schedule
from portico.services.webhooks.settings import STEPS, Settings

PAGE = ROOT / "docs/how-to/webhooks.md"
TYPES = re.compile(r": (string|boolean|Buffer|Record<string, string>)(?=[,) ])")


@dataclass(frozen=True)
class Message:
    """What a receiver has in hand."""

    secret: str
    id: str
    stamp: str
    signature: str
    body: bytes


def message(age: int = 0) -> Message:
    secret, body, stamp = webhooks.generate(), '{"type":"test","data":{"text":"ä €"}}'.encode(), int(time.time()) - age
    signature = webhooks.sign([webhooks.generate(), secret], "msg-1", stamp, body)
    return Message(webhooks.write(secret), "msg-1", str(stamp), signature, body)


def code(language: str) -> str:
    return next(block.text for block in blocks(PAGE, "## Verify") if block.info == language)


def python(found: Message, folder: Path) -> bool:
    ask = (
        f"\nheaders = {{'webhook-id': {found.id!r}, 'webhook-timestamp': {found.stamp!r}, "
        f"'webhook-signature': {found.signature!r}}}\n"
        f"raise SystemExit(not verify({found.secret!r}, headers, {found.body!r}))\n"
    )
    (folder / "verify.py").write_text(code("python") + ask)
    return _ran([sys.executable, str(folder / "verify.py")])


def typescript(found: Message, folder: Path) -> bool:
    if shutil.which("node") is None:
        missing("node is not installed")
    headers = {"webhook-id": found.id, "webhook-timestamp": found.stamp, "webhook-signature": found.signature}
    body = f"Buffer.from({found.body.hex()!r}, 'hex')"
    ask = f"\nprocess.exit(verify({json.dumps(found.secret)}, {json.dumps(headers)}, {body}) ? 0 : 1);\n"
    (folder / "verify.mjs").write_text(TYPES.sub("", code("typescript")) + ask)
    return _ran(["node", str(folder / "verify.mjs")])


def shell(found: Message, folder: Path) -> bool:
    (folder / "body").write_bytes(found.body)
    given = [found.secret, found.id, found.stamp, found.signature, str(folder / "body")]
    return _ran(["bash", "-c", code("bash") + '\nverify "$@"', "bash", *given])


def _ran(command: list[str]) -> bool:
    done = subprocess.run(command, capture_output=True, text=True, timeout=30, check=False)
    assert done.returncode in (0, 1), done.stderr
    assert not done.stderr, done.stderr
    return done.returncode == 0


@pytest.mark.parametrize("verify", [python, typescript, shell])
def test_an_example_verifies_what_was_signed_and_nothing_else(
    verify: Callable[[Message, Path], bool], tmp_path: Path
) -> None:
    good = message()
    assert verify(good, tmp_path)
    assert not verify(replace(good, body=good.body + b" "), tmp_path)
    assert not verify(replace(good, id="msg-2"), tmp_path)
    assert not verify(replace(good, secret=message().secret), tmp_path)
    assert not verify(replace(good, signature="v1,"), tmp_path)
    assert not verify(message(age=301), tmp_path)


def test_the_page_names_the_schedule_as_it_is() -> None:
    text = PAGE.read_text()
    assert "after 5 seconds, then 5 minutes, 30 minutes, 2, 5 and 10 hours" in text
    shown = next(block.text for block in blocks(PAGE, "## For operators"))
    assert "steps: [5s, 5m, 30m, 2h, 5h, 10h]" in shown
    assert "keep: 30d" in shown
    assert STEPS == (5, 5 * 60, 30 * 60, 2 * 3600, 5 * 3600, 10 * 3600)
    assert Settings().keep == 30 * 86400
    assert (schedule.RETRIES, schedule.PATIENCE.days, schedule.LONGEST) == (3, 5, 86400)


@pytest.mark.parametrize("as_json", [True, False])
def test_listen_prints_what_arrives_and_whether_its_signature_fits(as_json: bool) -> None:
    import socket

    good = message()
    command = [sys.executable, "-m", "portico", "webhooks", "listen", *(["--json"] if as_json else [])]
    environment = {**os.environ, "PORTICO_WEBHOOK_SECRET": good.secret}
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stderr is not None
    try:
        port = int(process.stderr.readline().rstrip("/\n").rpartition(":")[2])
        for each, status, told in (
            (good, b"200", ("verified", True)),
            (replace(good, body=b"{}"), b"401", ("REFUSED: no signature fits", False)),
        ):
            head = (
                f"POST / HTTP/1.1\r\nHost: x\r\nwebhook-id: {each.id}\r\nwebhook-timestamp: {each.stamp}\r\n"
                f"webhook-signature: {each.signature}\r\nContent-Length: {len(each.body)}\r\n\r\n"
            )
            with socket.create_connection(("127.0.0.1", port), 10) as sock:
                sock.sendall(head.encode() + each.body)
                assert sock.recv(100).split()[1] == status
            line = process.stdout.readline()
            if as_json:
                found = json.loads(line)
                assert (found["id"], found["verified"]) == (each.id, told[1])
            else:
                assert line == f"msg-1  {told[0]}\n"
                while process.stdout.readline().strip():
                    pass
    finally:
        process.kill()
        process.wait(10)


def test_listen_listens_on_this_machine_only_and_refuses_a_secret_that_is_none() -> None:
    command = [sys.executable, "-m", "portico", "webhooks", "listen"]
    shown = subprocess.run([*command, "--help"], capture_output=True, text=True, timeout=30, check=True)
    assert "[default: 127.0.0.1]" in shown.stdout
    refused = subprocess.run(
        [*command, "--secret", "short"], capture_output=True, text=True, timeout=30, check=False
    )  # fmt: skip
    assert refused.returncode != 0
    assert "24 to 64 bytes" in refused.stderr
