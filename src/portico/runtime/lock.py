"""The PID file: a lock held for life, so that a file left by a dead gateway is known for what it is."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from pathlib import Path
from typing import Final

from portico.errors import AlreadyRunning, StartError

NAME: Final = "portico.pid"
COMMAND: Final = "command"  # what the file says beside the process id, while a command runs without a gateway
FOR_COMMANDS: Final = 45.0  # seconds that a gateway waits for them
STEP: Final = 0.05


class PidFile:
    """DATA_DIR/portico.pid. The lock counts, not the file: a crash releases the one and leaves the other."""

    def __init__(self, data_dir: Path) -> None:
        self.path = data_dir / NAME
        self._file = -1

    def acquire_after_commands(self) -> None:
        """Take the lock as soon as no command has it, within 45 s. AlreadyRunning when a gateway does."""
        deadline = time.monotonic() + FOR_COMMANDS
        while True:
            try:
                self.acquire()
                return
            except AlreadyRunning as error:
                if not error.by_command or time.monotonic() > deadline:
                    raise
            time.sleep(STEP)

    def acquire(self, purpose: str = "") -> None:
        """Take the lock and write this process's id. AlreadyRunning names the process that holds it."""
        while True:
            file = self._open()
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                holder, _, doing = os.pread(file, 40, 0).decode("ascii", "replace").strip().partition(" ")
                os.close(file)
                who = f"process {holder}" if holder else "another process"
                what = "works on" if doing == COMMAND else "already runs a gateway on"
                raise AlreadyRunning(f"{who} {what} {self.path.parent}", doing == COMMAND) from error
            if self._still_there(file):
                break
            os.close(file)  # its holder removed it between our opening and our locking
        os.ftruncate(file, 0)
        os.pwrite(file, f"{os.getpid()} {purpose}".strip().encode() + b"\n", 0)
        self._file = file

    def release(self) -> None:
        """Remove the file and let go of the lock."""
        if self._file >= 0:
            with contextlib.suppress(FileNotFoundError):
                self.path.unlink()
            os.close(self._file)
            self._file = -1

    def _open(self) -> int:
        try:
            return os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        except OSError as error:
            raise StartError(f"{self.path} can't be opened: {error.strerror}") from error

    def _still_there(self, file: int) -> bool:
        ours = os.fstat(file)
        try:
            there = self.path.stat()
        except FileNotFoundError:
            return False
        return (ours.st_dev, ours.st_ino) == (there.st_dev, there.st_ino)
