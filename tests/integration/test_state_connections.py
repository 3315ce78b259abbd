"""Redis behind TLS and on a Unix socket, with credentials."""

from __future__ import annotations

import shutil
import socket
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.e2e.edge.pki import Authority
from tests.services import missing
from tests.unit.state.stores import opened, retried, run, until

from portico.errors import StateUnavailable


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


@contextmanager
def redis(folder: Path, *options: str) -> Iterator[None]:
    """A redis-server with these options, in a folder."""
    if shutil.which("redis-server") is None:
        missing("redis-server is not installed")
    command = ["redis-server", "--save", "", "--dir", str(folder), *options]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
    try:
        yield
    finally:
        process.kill()
        process.wait(10)


def test_a_unix_socket(tmp_path: Path) -> None:
    path = tmp_path / "redis.sock"

    async def scene() -> None:
        with redis(tmp_path, "--port", "0", "--unixsocket", str(path), "--requirepass", "a b/c"):
            async with opened(f"unix://:a%20b%2Fc@{path}?db=2") as store:
                assert await retried(lambda: store.set("a", b"1", 60.0))
                got: list[bytes] = []
                await store.subscribe("news", got.append)
                await store.publish("news", b"x")
                await until(lambda: got == [b"x"])
                assert str(path) in (store.health().error or str(path))

    run(scene())


def test_tls_and_whose_certificate_is_trusted(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    cert, key = authority.issue("redis", "IP:127.0.0.1", "DNS:localhost")
    other = Authority(tmp_path, "another")
    port = free_port()
    tls = ["--tls-port", str(port), "--tls-cert-file", str(cert), "--tls-key-file", str(key)]
    files = ["--tls-ca-cert-file", str(authority.cert), "--tls-auth-clients", "no"]
    url = f"rediss://127.0.0.1:{port}/0?ssl_ca_certs="

    async def scene() -> None:
        with redis(tmp_path, "--port", "0", *tls, *files):
            async with opened(f"{url}{authority.cert}") as store:
                assert await retried(lambda: store.set("a", b"1", 60.0))
                assert await store.get("a") == b"1"
            async with opened(f"{url}{other.cert}") as store:
                assert "no connection" in store.health().error
                with pytest.raises(StateUnavailable):
                    await store.get("a")

    run(scene())
