"""RabbitMQ for tests: a virtual host of each test's own, or a server that the test may kill.

A virtual host is made on the server at PORTICO_TEST_AMQP, or else on the one at 127.0.0.1:5672, where `rabbitmqctl` may
make one; anywhere else queues of Portico are removed before and after. Where no server answers, and for tests that kill
it, one is started on spare ports from what is installed (`apt-get install rabbitmq-server`). Where that is missing too,
the tests are skipped with the reason; with PORTICO_REQUIRE_SERVICES=1 they fail.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from typing import Any, Final
from urllib.parse import urlsplit, urlunsplit

from kombu import Connection
from tests.services import free_port, missing

from portico.jobs import celery_app

SERVER: Final = "amqp://guest:guest@127.0.0.1:5672//"
PATIENCE: Final = 120.0  # seconds; Erlang takes its time to start on a busy machine
WAIT: Final = 10.0
# Debian's own scripts change to another user, who has no business in a test's folder.
PLACES: Final = "/usr/lib/rabbitmq/bin" + os.pathsep + os.environ.get("PATH", "") + os.pathsep + "/usr/sbin"
QUEUE: Final = celery_app.PREFIX + "default"


class PrivateRabbit:
    """A server of a test's own; after `kill`, `start` keeps the ports, and begins empty. The user is `guest`."""

    def __init__(self, password: str) -> None:
        self.port = free_port()
        self.password = password
        self.process: subprocess.Popen[bytes] | None = None
        self._folder = tempfile.TemporaryDirectory(prefix="portico-rabbit-")
        self._mapper = free_port()  # of Erlang's epmd
        self._dist = free_port()

    @property
    def url(self) -> str:
        return f"amqp://guest:{self.password}@127.0.0.1:{self.port}//"

    def start(self) -> None:
        """Start the server and wait until it answers."""
        self._empty()
        command = [shutil.which("rabbitmq-server", path=PLACES) or "rabbitmq-server"]
        self.process = subprocess.Popen(
            command, env=self._environment(), stdin=subprocess.DEVNULL, stdout=self._log(), stderr=subprocess.STDOUT,
            start_new_session=True,
        )  # fmt: skip
        deadline = time.monotonic() + PATIENCE
        while not answers(self.url):
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError(f"rabbitmq-server on port {self.port} does not answer: {self._told()}")
            time.sleep(0.1)

    def kill(self) -> None:
        """End the server at once."""
        process, self.process = self.process, None
        if process is not None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait(WAIT)
            self._end_mapper()

    def close(self) -> None:
        """End it and forget its folder."""
        self.kill()
        self._folder.cleanup()

    def _environment(self) -> dict[str, str]:
        folder = self._folder.name
        return {
            "PATH": os.environ.get("PATH", "/usr/bin:/bin") + ":/usr/sbin:/sbin",
            "HOME": folder,
            "LANG": "C.UTF-8",
            "ERL_EPMD_PORT": str(self._mapper),
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "ERL_EPMD_RELAXED_COMMAND_CHECK": "1",  # it may be ended while it still knows of the node
            "RABBITMQ_NODENAME": f"portico{self.port}@localhost",
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_DIST_PORT": str(self._dist),
            "RABBITMQ_MNESIA_BASE": f"{folder}/data",
            "RABBITMQ_LOG_BASE": f"{folder}/log",
            "RABBITMQ_CONFIG_FILE": f"{folder}/rabbitmq.conf",
            "RABBITMQ_ENABLED_PLUGINS_FILE": f"{folder}/plugins",
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": "+S 1:1 +sbwt none",
        }

    def _empty(self) -> None:
        shutil.rmtree(f"{self._folder.name}/data", ignore_errors=True)
        with open(f"{self._folder.name}/rabbitmq.conf", "w") as file:
            file.write(f"default_user = guest\ndefault_pass = {self.password}\n")
        with open(f"{self._folder.name}/plugins", "w") as file:
            file.write("[].\n")

    def _log(self) -> Any:
        return open(f"{self._folder.name}/output", "ab")

    def _told(self) -> str:
        with open(f"{self._folder.name}/output", "rb") as file:
            return file.read()[-2000:].decode(errors="replace")

    def _end_mapper(self) -> None:
        """Erlang's name server is a daemon, which outlives the node that started it."""
        found = shutil.which("epmd")
        if found is not None:
            command = [found, "-port", str(self._mapper), "-kill"]
            subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=WAIT, check=False)


@contextlib.contextmanager
def private_rabbit(password: str = "guest") -> Iterator[PrivateRabbit]:
    """A server that the test may kill and start as it likes."""
    if shutil.which("rabbitmq-server", path=PLACES) is None:
        missing("rabbitmq-server is not installed: apt-get install rabbitmq-server")
    server = PrivateRabbit(password)
    try:
        server.start()
        yield server
    finally:
        server.close()


@contextlib.contextmanager
def rabbit() -> Iterator[str]:
    """The URL of a virtual host, or of a server, without queues of Portico."""
    server = os.environ.get("PORTICO_TEST_AMQP") or SERVER
    if not answers(server):
        with private_rabbit() as private:
            yield private.url
        return
    name = f"portico_test_{secrets.token_hex(6)}"
    user = urlsplit(server).username or "guest"
    if _control("add_vhost", name) and _control("set_permissions", "-p", name, user, ".*", ".*", ".*"):
        try:
            yield urlunsplit(urlsplit(server)._replace(path=f"/{name}"))
        finally:
            _control("delete_vhost", name)
        return
    with _without_queues(server):
        yield server


def answers(url: str) -> bool:
    """Whether a broker takes a connection with these credentials."""
    try:
        with Connection(url, connect_timeout=WAIT) as connection:
            connection.ensure_connection(max_retries=1, timeout=2)
            return True
    except Exception:  # of the client, which has many
        return False


def waiting(url: str) -> int:
    """How many messages wait in the queue of jobs that name none."""
    with Connection(url) as connection:
        return int(celery_app.queue("default")(connection.default_channel).queue_declare().message_count)


def forget(url: str) -> None:
    """Have the broker forget them."""
    with Connection(url) as connection:
        connection.default_channel.queue_purge(QUEUE)


def _control(*arguments: str) -> bool:
    command = shutil.which("rabbitmqctl", path=os.environ.get("PATH", "") + os.pathsep + "/usr/sbin")
    if command is None:
        return False
    try:
        done = subprocess.run(
            [command, "--quiet", *arguments], stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL, timeout=PATIENCE, check=False,
        )  # fmt: skip
    except subprocess.TimeoutExpired:
        return False
    return done.returncode == 0


@contextlib.contextmanager
def _without_queues(server: str) -> Iterator[None]:
    def remove() -> None:
        with Connection(server) as connection:
            connection.default_channel.queue_delete(QUEUE)

    remove()
    try:
        yield
    finally:
        remove()
