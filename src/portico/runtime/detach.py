"""`portico up --detach`: the same command again in a session of its own, and word of how it went."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from typing import Any, Final

from portico.errors import NotRunning, PorticoError
from portico.runtime import control, paths

LOG: Final = "portico.log"
READY_WITHIN: Final = 60.0  # seconds
STEP: Final = 0.03


class Detached:
    """A gateway started in the background; it logs to DATA_DIR/logs/portico.log."""

    def __init__(self, arguments: list[str], data_dir: Path) -> None:
        self.data_dir = paths.prepare_data_dir(data_dir)
        self.log = self.data_dir / "logs" / LOG
        self._arguments = arguments
        self._begin = 0

    def start(self) -> tuple[int, dict[str, Any], str]:
        """(0, status, "") when the gateway is ready; else its exit code and what it wrote."""
        file = os.open(self.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        self._begin = os.fstat(file).st_size
        command = [sys.executable, "-P", "-m", "portico", "up", *self._arguments]
        with os.fdopen(file, "ab") as stream:
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=stream, stderr=stream, start_new_session=True
            )
        deadline = time.monotonic() + READY_WITHIN
        while process.poll() is None and time.monotonic() < deadline:
            status = self._status(process.pid)
            if status.get("state") == "ready":
                return 0, status, ""
            time.sleep(STEP)
        if process.poll() is None:
            return 1, {}, f"not ready after {READY_WITHIN:g} s (process {process.pid} goes on trying); see {self.log}"
        return process.returncode or 1, {}, self._written()

    def _status(self, pid: int) -> dict[str, Any]:
        try:
            status = control.ask(self.data_dir, "status", 5.0)
        except (NotRunning, PorticoError):
            return {}
        return status if status["pid"] == pid else {}

    def _written(self) -> str:
        with self.log.open("rb") as stream:
            stream.seek(self._begin)
            written = stream.read().decode("utf-8", "replace").strip()
        lines = written.splitlines()
        reason = next((at for at, line in enumerate(lines) if line.startswith("portico: ")), 0)
        return "\n".join(lines[reason:])
