"""A PostgreSQL of the tests' own: a new cluster in a temporary folder, on a spare port, which ends with them."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

DEBIAN: Final = Path("/usr/lib/postgresql")  # a folder for each version, not in PATH
USER: Final = "postgres"  # the server refuses to run as root
PATIENCE: Final = 30.0  # seconds


def programs() -> Path | None:
    """The folder with initdb and postgres, the newest; None when PostgreSQL is not installed."""
    found = shutil.which("initdb")
    if found is not None and Path(found).resolve().with_name("postgres").exists():
        return Path(found).resolve().parent
    versions = [path.parent for path in DEBIAN.glob("*/bin/initdb")]
    return max(versions, key=lambda path: [int(part) for part in path.parent.name.split(".")], default=None)


@contextlib.contextmanager
def cluster() -> Iterator[str | None]:
    """The URL of its superuser, who needs no password; None when PostgreSQL is not installed."""
    binaries = programs()
    if binaries is None:
        yield None
        return
    with tempfile.TemporaryDirectory(prefix="portico-postgres-") as folder:
        data = Path(folder, "data")
        as_user: dict[str, Any] = {}
        if os.geteuid() == 0:
            shutil.chown(folder, USER, USER)
            as_user = {"user": USER, "group": USER, "extra_groups": []}
        made = [
            f"{binaries}/initdb",
            "-D",
            str(data),
            "-U",
            USER,
            "-A",
            "trust",
            "-E",
            "UTF8",
            "--locale=C",
            "--no-sync",
        ]
        subprocess.run(made, check=True, stdout=subprocess.DEVNULL, cwd=folder, **as_user)
        port = _free_port()
        # It need not survive a crash of the machine: no waiting for the disk.
        settings = ["-c", "fsync=off", "-c", "max_connections=200", "-c", f"unix_socket_directories={folder}"]
        command = [f"{binaries}/postgres", "-D", str(data), "-h", "127.0.0.1", "-p", str(port), *settings]
        with Path(folder, "log").open("wb") as log:
            server = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=folder, process_group=0, **as_user
            )
        try:
            _wait(binaries, port, server)
            yield f"postgresql://{USER}@127.0.0.1:{port}/postgres"
        finally:
            server.send_signal(signal.SIGINT)  # ends connections, writes what must be written, stops
            try:
                server.wait(PATIENCE)
            except subprocess.TimeoutExpired:
                server.kill()
                server.wait()


def _wait(binaries: Path, port: int, server: subprocess.Popen[bytes]) -> None:
    """Return when it takes connections; before, it accepts and refuses them."""
    asked = [f"{binaries}/pg_isready", "-q", "-h", "127.0.0.1", "-p", str(port)]
    deadline = time.monotonic() + PATIENCE
    while server.poll() is None and time.monotonic() < deadline:
        if subprocess.run(asked, check=False).returncode == 0:
            return
        time.sleep(0.02)
    raise RuntimeError(f"PostgreSQL did not start on port {port}")


def _free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])
