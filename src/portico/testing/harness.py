"""A whole gateway for tests: `portico up` as a child process, on a free port and a data directory of its own."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import yaml

from portico.errors import PorticoError
from portico.runtime import control
from portico.testing.client import Answer, Headers, Reader, read_all, request_bytes

READY_WITHIN = 30.0  # seconds
KILLED_WITHIN = 5.0


class GatewayHarness:
    """`with GatewayHarness(config) as gateway:` runs a gateway until the block ends; nothing of it survives the block.

    `config`: a dict, the text of a portico.yaml, the path of one (used where it is), or None (defaults). What it does
    not say of `server.port` and `data_dir` is filled in. `args` go to `portico up`, `env` into its environment.
    `compiled` True or False sets PORTICO_COMPILED. `wait` False returns at once, before it is ready.
    """

    def __init__(
        self,
        config: dict[str, Any] | str | Path | None = None,
        *,
        compiled: bool | None = None,
        args: Sequence[str] = (),
        env: Mapping[str, str] | None = None,
        wait: bool = True,
    ) -> None:
        self.config = config
        self.compiled = compiled
        self.args = list(args)
        self.env = dict(env or {})
        self.wait = wait
        self.port = 0
        self.process: subprocess.Popen[bytes] | None = None
        self._directory: tempfile.TemporaryDirectory[str] | None = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        assert self.process is not None
        return self.process.pid

    @property
    def directory(self) -> Path:
        """The temporary directory of this gateway."""
        assert self._directory is not None
        return Path(self._directory.name)

    @property
    def config_path(self) -> Path:
        if "--demo" in self.args:
            return self.data_dir / "demo.yaml"
        return self.config if isinstance(self.config, Path) else self.directory / "portico.yaml"

    @property
    def data_dir(self) -> Path:
        return self._data_dir

    def __enter__(self) -> Self:
        self._directory = tempfile.TemporaryDirectory(prefix="portico-test-")
        try:
            self.start()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        if self.process is not None:
            _kill_session(self.process.pid)
            self.process.wait(10)
        if self._directory is not None:
            self._directory.cleanup()

    def start(self) -> None:
        """Start the gateway (again, after `stop`) on the same port and data directory."""
        command = [sys.executable, "-m", "portico", "up", *self._prepare(), *self.args]
        with (self.directory / "output.log").open("ab") as output:
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                env=self._environment(),
                start_new_session=True,
            )
        if self.wait:
            self.wait_ready()

    def wait_ready(self, timeout: float = READY_WITHIN) -> None:
        """Return when all are ready; RuntimeError with the gateway's output if it ends or takes longer."""
        deadline = time.monotonic() + timeout
        while time.monotonic() < deadline:
            if self.process is not None and self.process.poll() is not None:
                raise RuntimeError(f"the gateway ended with {self.process.returncode}:\n{self.output()}")
            if self._state() == "ready":
                self._learn_port()
                return
            time.sleep(0.02)
        raise RuntimeError(f"the gateway was not ready within {timeout} s:\n{self.output()}")

    def _learn_port(self) -> None:
        addresses = self.status()["listeners"]
        if not self.port and addresses:
            self.port = int(addresses[0].rpartition(":")[2])

    def _state(self) -> str:
        try:
            return str(control.ask(self.data_dir, "status")["state"])
        except PorticoError:
            return "starting"

    def _prepare(self) -> list[str]:
        settings = self._settings()
        server = settings.get("server") if isinstance(settings.get("server"), dict) else {}
        options: list[str] = []
        port = server.get("port") if isinstance(server, dict) else None
        if not isinstance(port, int):
            self.port = self.port or (0 if self.wait else free_port())  # 0: the system finds one that is surely free
            options += ["--port", str(self.port)]
        else:
            self.port = port
        if isinstance(settings.get("data_dir"), str):
            self._data_dir = Path(settings["data_dir"])
        else:
            self._data_dir = self.directory / "data"
            options += ["--data-dir", str(self._data_dir)]
        if "--demo" in self.args:
            return options
        if not isinstance(self.config, Path) and not self.config_path.exists():
            self.rewrite(self.config or {})
        return ["-c", str(self.config_path), *options]

    def _settings(self) -> dict[str, Any]:
        if isinstance(self.config, dict):
            return self.config
        text = self.config.read_text() if isinstance(self.config, Path) else self.config or ""
        try:
            loaded = yaml.safe_load(text)
        except yaml.YAMLError:
            return {}
        return loaded if isinstance(loaded, dict) else {}

    def _environment(self) -> dict[str, str]:
        # Its sockets go with its directory, also when it is killed.
        environment = {**os.environ, "XDG_RUNTIME_DIR": str(self.directory), **self.env}
        if self.compiled is not None:
            environment["PORTICO_COMPILED"] = "1" if self.compiled else "0"
        return environment

    def rewrite(self, config: dict[str, Any] | str) -> None:
        """Replace the configuration file; `reload` makes the gateway read it."""
        if isinstance(self.config, Path):
            raise ValueError("a configuration given by its path belongs to the caller")
        text = config if isinstance(config, str) else yaml.safe_dump(config, sort_keys=False)
        self.config_path.write_text(text)

    def output(self) -> str:
        """What the gateway has written to its standard output and error so far."""
        return (self.directory / "output.log").read_text(errors="replace")

    def status(self) -> dict[str, Any]:
        """What `portico status --json` shows."""
        return control.ask(self.data_dir, "status")

    def reload(self) -> dict[str, Any]:
        """Make the gateway read its configuration again; raises ControlError when it refuses the file."""
        return control.ask(self.data_dir, "reload")

    def cli(self, *args: str, timeout: float = 30.0) -> subprocess.CompletedProcess[str]:
        """Run `portico ARGS` in the gateway's directory and environment."""
        command = [sys.executable, "-m", "portico", *args]
        env = self._environment()
        return subprocess.run(
            command, capture_output=True, text=True, timeout=timeout, env=env, cwd=self.directory, check=False
        )

    def signal(self, number: signal.Signals) -> None:
        os.kill(self.pid, number)

    def stop(self, timeout: float = 20.0) -> int:
        """SIGTERM, and wait: the exit code."""
        assert self.process is not None
        if self.process.poll() is None:
            self.signal(signal.SIGTERM)
        return self.process.wait(timeout)

    def connect(self, timeout: float = 10.0) -> socket.socket:
        """A TCP connection to the gateway; `timeout` seconds bound each wait on it."""
        sock = socket.create_connection(("127.0.0.1", self.port), timeout)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return sock

    def request(
        self,
        method: str,
        path: str,
        headers: Headers | None = None,
        body: bytes | str | None = None,
        timeout: float = 10.0,
    ) -> Answer:
        """One request on a connection of its own; IncompleteAnswer when the answer breaks off."""
        data = body.encode() if isinstance(body, str) else body
        with self.connect(timeout) as sock:
            sock.sendall(request_bytes(method, path, f"127.0.0.1:{self.port}", headers, data))
            return Reader(sock).answer(method)

    def raw(self, data: bytes, timeout: float = 5.0) -> bytes:
        """Send `data` as it is; what came until the gateway closed or was silent for `timeout` seconds."""
        with self.connect(timeout) as sock:
            sock.sendall(data)
            return read_all(sock, timeout)

    def access_log(self, at_least: int = 1, timeout: float = 5.0) -> list[dict[str, Any]]:
        """The access log's lines, once there are `at_least` of them or `timeout` seconds have passed."""
        deadline = time.monotonic() + timeout
        while True:
            files = sorted((self.data_dir / "logs").glob("access*"))
            text = "".join(file.read_text() for file in files)
            complete = text[: text.rfind("\n") + 1].splitlines()
            if len(complete) >= at_least or time.monotonic() > deadline:
                return [json.loads(line) for line in complete]
            time.sleep(0.02)


def free_port() -> int:
    """A TCP port of 127.0.0.1 that nothing listens on at the moment."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def _kill_session(leader: int) -> None:
    """Kill every process of the session that `leader` began, the supervisor and its children; wait for their end."""
    deadline = time.monotonic() + KILLED_WITHIN
    while (pids := _alive(leader)) and time.monotonic() < deadline:
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):  # it ended meanwhile
                os.kill(pid, signal.SIGKILL)
        time.sleep(0.005)


def _alive(leader: int) -> list[int]:
    """The processes of a session, without those that have ended and wait to be reaped."""
    found = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with contextlib.suppress(FileNotFoundError, ProcessLookupError):
                state, _parent, _group, session, *_ = (entry / "stat").read_text().rpartition(")")[2].split()
                if int(session) == leader and state != "Z":
                    found.append(int(entry.name))
    return found
