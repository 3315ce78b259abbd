"""Starts `storage_worker`s and listens to them."""

from __future__ import annotations

import json
import select
import subprocess
import sys
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Final, Self

ROOT: Final = Path(__file__).resolve().parents[2]
PATIENCE: Final = 30.0  # seconds


class Worker:
    """One process; killed at the end of the `with` block if it has not ended."""

    def __init__(self, do: str, url: str, data_dir: Path, **more: Any) -> None:
        told = json.dumps({"do": do, "url": url, "data_dir": str(data_dir), **more})
        command = [sys.executable, "-m", "tests.integration.storage_worker", told]
        self.process = subprocess.Popen(
            command,
            cwd=ROOT,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            bufsize=0,  # so that `line` takes no more than its line
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.process.kill()
        self.process.communicate()

    def line(self, patience: float = PATIENCE) -> dict[str, Any]:
        """The next thing that it says."""
        assert self.process.stdout is not None
        if not select.select([self.process.stdout], [], [], patience)[0]:
            raise AssertionError(f"nothing was said within {patience} s")
        said = self.process.stdout.readline()
        if not said:
            assert self.process.stderr is not None
            raise AssertionError(self.process.stderr.read().decode())
        found: dict[str, Any] = json.loads(said)
        return found

    def kill(self) -> list[dict[str, Any]]:
        """End it at once (SIGKILL); everything that it had said and nobody has read yet."""
        self.process.kill()
        out, _ = self.process.communicate(timeout=PATIENCE)
        return [json.loads(line) for line in out.splitlines(keepends=True) if line.endswith(b"\n")]

    def finish(self) -> tuple[list[dict[str, Any]], str]:
        """Let it end; what it said, and its errors."""
        out, errors = self.process.communicate(timeout=PATIENCE)
        return [json.loads(line) for line in out.splitlines()], errors.decode()


def wait_until(done: Any, patience: float = PATIENCE) -> None:
    """Poll until `done()` is true."""
    deadline = time.monotonic() + patience
    while not done():
        if time.monotonic() > deadline:
            raise AssertionError(f"not so within {patience} s")
        time.sleep(0.01)
