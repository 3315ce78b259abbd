"""A server of the benchmark as a process of its own on one core, and what the system tells about it."""

from __future__ import annotations

import contextlib
import http.client
import os
import signal
import socket
import ssl
import subprocess
import time
from collections.abc import Iterable
from pathlib import Path
from types import TracebackType
from typing import Final

GATEWAY_CORE: Final = "0"
LOAD_CORE: Final = "1"
BOTH_CORES: Final = "0,1"
KEY: Final = "bench-key-0123456789abcdef"
READY_WITHIN: Final = 60.0  # seconds
TICK: Final = os.sysconf("SC_CLK_TCK")


class Server:
    """A process tree on one core, its port, and the access log that it writes."""

    def __init__(
        self,
        name: str,
        command: list[str],
        folder: Path,
        port: int,
        *,
        core: str = GATEWAY_CORE,
        env: dict[str, str] | None = None,
        tls: bool = False,
        path: str = "/users/1",
        log: str = "",
    ) -> None:
        self.name = name
        self.output = folder / f"{name.replace(' ', '-')}-{port}.output"
        self.command = ["taskset", "-c", core, *command]
        self.port = port
        self.tls = tls
        self.path = path
        self.env = {**os.environ, **(env or {})}
        self.process: subprocess.Popen[bytes] | None = None
        self.folder = folder
        self.log = log  # pattern of its files in the folder; "" when it writes none
        self.beside: Server | None = None  # works for this one alone

    def __enter__(self) -> Server:
        self.start()
        try:
            self.wait(self.path)
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.process is None:
            return
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()

    def start(self) -> None:
        """Start the process and return at once."""
        with self.output.open("wb") as output:
            self.process = subprocess.Popen(
                self.command, env=self.env, stdout=output, stderr=subprocess.STDOUT, start_new_session=True
            )

    def wait(self, path: str, pause: float = 0.05) -> float:
        """Until `path` is answered with 200; the monotonic time of that. RuntimeError after 60 seconds."""
        deadline = time.monotonic() + READY_WITHIN
        seen = "nothing"
        while time.monotonic() < deadline:
            if self.pid and self._process().poll() is not None:
                raise RuntimeError(f"{self.name} ended at its start: {self.output.read_text()[-2000:]}")
            try:
                seen = str(self.ask(path))
                if seen == "200":
                    return time.monotonic()
            except (OSError, http.client.HTTPException) as error:
                seen = repr(error)
            time.sleep(pause)
        raise RuntimeError(f"{self.name} is not ready: {seen}; {self.output.read_text()[-500:]}")

    def ask(self, path: str) -> int:
        """The status that one request gets."""
        connection: http.client.HTTPConnection
        if self.tls:
            context = ssl.create_default_context()
            context.check_hostname = False
            context.verify_mode = ssl.CERT_NONE
            connection = http.client.HTTPSConnection("127.0.0.1", self.port, timeout=10, context=context)
        else:
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        with contextlib.closing(connection):
            connection.request("GET", path, headers={"X-API-Key": KEY})
            answer = connection.getresponse()
            answer.read()
            return answer.status

    @property
    def pid(self) -> int:
        return self._process().pid

    def _process(self) -> subprocess.Popen[bytes]:
        assert self.process is not None, f"{self.name} was not started"
        return self.process

    def cpu(self) -> float:
        """CPU seconds that the whole tree has used so far, and that of what works for it."""
        return cpu(tree(self.pid)) + (self.beside.cpu() if self.beside is not None else 0.0)

    def edge(self) -> int:
        """The process that forwards: Portico's edge, nginx's worker; else the only one there is."""
        pids = tree(self.pid)
        for pid in pids:
            words = Path(f"/proc/{pid}/cmdline").read_bytes()
            if b"portico.edge" in words or b"worker process" in words:
                return pid
        return pids[-1]

    def logged(self) -> int:
        """Lines in its access log."""
        return sum(file.read_bytes().count(b"\n") for file in self.folder.glob(self.log)) if self.log else 0


class Redis(Server):
    """A redis-server with nothing on disk; ready when it answers."""

    def __init__(self, folder: Path, port: int, core: str) -> None:
        words = ["redis-server", "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--appendonly", "no"]
        super().__init__("redis", [*words, "--dir", str(folder)], folder, port, core=core)

    def ask(self, path: str) -> int:
        """200 when it answers."""
        with socket.create_connection(("127.0.0.1", self.port), 5) as sock:
            sock.sendall(b"PING\r\n")
            return 200 if sock.recv(16).startswith(b"+PONG") else 503


def free_port() -> int:
    """A TCP port that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def tree(pid: int) -> list[int]:
    """The process and its descendants."""
    found = [pid]
    for each in found:
        for task in Path(f"/proc/{each}/task").glob("*/children"):
            with contextlib.suppress(OSError):  # it has ended since
                found.extend(int(child) for child in task.read_text().split())
    return found


def cpu(pids: Iterable[int]) -> float:
    """CPU seconds, user and system, that these processes and their ended children have used."""
    total = 0
    for pid in pids:
        with contextlib.suppress(OSError):  # it has ended since
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            total += sum(int(field) for field in fields[11:15])
    return total / TICK


def pss(pid: int) -> float:
    """Memory of one process in KB, pages shared with others counted in part (proportional set size)."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith("Pss:"):
            return float(line.split()[1])
    raise RuntimeError(f"process {pid} has no PSS")


class Watch:
    """How much of the machine others used while it was open: `foreign`, in cores."""

    def __init__(self) -> None:
        self.foreign = 0.0

    def __enter__(self) -> Watch:
        self._began, self._busy, self._ours = time.monotonic(), _busy(), cpu(tree(os.getpid()))
        return self

    def __exit__(self, *_: object) -> None:
        took = max(time.monotonic() - self._began, 1e-9)
        used = _busy() - self._busy - (cpu(tree(os.getpid())) - self._ours)
        self.foreign = max(0.0, used / took)


def _busy() -> float:
    """Seconds that all cores together were not idle, theft by other machines included."""
    fields = [int(field) for field in Path("/proc/stat").read_text().splitlines()[0].split()[1:9]]
    return (sum(fields) - fields[3] - fields[4]) / TICK
