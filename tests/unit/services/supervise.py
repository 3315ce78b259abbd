"""A supervisor of one services process, for tests: the other end of its channel, and HTTP over its socket."""

from __future__ import annotations

import http.client
import os
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from portico import contracts
from portico.contracts import Listen, PluginSpec, Route, Server, Snapshot
from portico.kernel.channel import Channel, Message

KEY = bytes(range(32))
PUBLIC = PluginSpec("public", "portico.services.public.plugin:Public")


def snapshot(version: int = 1, plugins: tuple[PluginSpec, ...] = (PUBLIC,), **more: Any) -> Snapshot:
    """A snapshot with the services' plugins."""
    return Snapshot(version, "test", Server((Listen("main", "127.0.0.1", 1),)), plugins=plugins, **more)


ROUTES = (Route("public.status", ("/api/v1/public/status",), contracts.SERVICES, layer="public", source="public"),)


class Services:
    """`with Services(snapshot) as services:` runs a process up to its first message."""

    def __init__(self, boot: Snapshot, env: Mapping[str, str] | None = None) -> None:
        self.boot = boot
        self.env = {**os.environ, **(env or {})}
        self.first: Message | None = None
        self.socket_name = "s.sock"

    def __enter__(self) -> Self:
        self.directory = tempfile.TemporaryDirectory(prefix="portico-")
        self.path = Path(self.directory.name) / self.socket_name
        ours, theirs = socket.socketpair()
        self.channel = Channel(ours)
        ours.settimeout(20)
        with theirs, (Path(self.directory.name) / "log").open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "portico.services", str(theirs.fileno())],
                pass_fds=[theirs.fileno()], env=self.env, stderr=log,
            )  # fmt: skip
        self.channel.send({
            "type": "boot", "role": "services", "index": 0, "snapshot": contracts.dump(self.boot),
            "keys": {"principal": KEY.hex()}, "listeners": [], "services_socket": str(self.path),
            "data_dir": self.directory.name, "logs_dir": self.directory.name,
        })  # fmt: skip
        self.first = self.channel.receive()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.channel.close()
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
            raise
        finally:
            self.directory.cleanup()

    def log(self) -> str:
        """What the process wrote to its standard error."""
        return (Path(self.directory.name) / "log").read_text()

    def connect(self) -> http.client.HTTPConnection:
        """A connection to its socket."""
        connection = http.client.HTTPConnection("services", timeout=10)
        connection.sock = socket.socket(socket.AF_UNIX)
        connection.sock.settimeout(10)
        connection.sock.connect(str(self.path))
        return connection

    def get(
        self, path: str, method: str = "GET", headers: Mapping[str, str] | None = None, body: bytes | None = None
    ) -> tuple[int, Mapping[str, str], bytes]:
        """Status, header fields and body of one request on a connection of its own."""
        connection = self.connect()
        try:
            connection.request(method, path, body, dict(headers or {}))
            answer = connection.getresponse()
            return answer.status, answer.headers, answer.read()
        finally:
            connection.close()
