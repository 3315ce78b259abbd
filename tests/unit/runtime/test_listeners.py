"""Listening sockets: what is opened, what is refused and how it is said."""

from __future__ import annotations

import os
import socket
import threading
from pathlib import Path

import pytest

from portico.contracts import Listen
from portico.errors import StartError
from portico.runtime.listeners import BACKLOG, open_listeners
from portico.testing import free_port


def test_a_tcp_listener_takes_connections_and_is_no_reuseport_one() -> None:
    [listener] = open_listeners((Listen("main", "127.0.0.1", 0),))
    port = listener.sock.getsockname()[1]
    assert listener.address == f"http://127.0.0.1:{port}"
    assert not listener.sock.getblocking()
    assert listener.sock.getsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT) == 0
    assert listener.sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1
    with socket.create_connection(("127.0.0.1", port), 2):
        pass
    listener.close()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", port), 2)


def test_the_queue_is_as_long_as_the_system_lets_it_be() -> None:
    [listener] = open_listeners((Listen("main", "127.0.0.1", 0),))
    port = listener.sock.getsockname()[1]
    allowed = min(BACKLOG, int(Path("/proc/sys/net/core/somaxconn").read_text()))
    waiting = [socket.create_connection(("127.0.0.1", port), 2) for _ in range(min(allowed, 300))]
    assert len(waiting) == min(allowed, 300)  # nobody accepts: all of them wait
    for sock in [*waiting, listener.sock]:
        sock.close()


def test_an_address_in_use_is_named_and_nothing_stays_open(tmp_path: Path) -> None:
    free = free_port()
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = other.getsockname()[1]
        wanted = (Listen("main", "127.0.0.1", free), Listen("second", "127.0.0.1", taken))
        with pytest.raises(StartError, match=f"127.0.0.1:{taken} is in use by another process") as caught:
            open_listeners(wanted)
    assert "--port" in caught.value.hint
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", free), 2)


def test_an_unknown_host_is_named() -> None:
    with pytest.raises(StartError, match=r"can't listen on 203\.0\.113\.1:0"):
        open_listeners((Listen("main", "203.0.113.1", 0),))


def test_a_unix_listener_is_private_and_its_name_goes_with_it(tmp_path: Path) -> None:
    path = tmp_path / "gateway.sock"
    [listener] = open_listeners((Listen("local", unix=str(path)),))
    assert listener.address == f"unix:{path}"
    assert path.stat().st_mode & 0o777 == 0o600
    with socket.socket(socket.AF_UNIX) as sock:
        sock.connect(str(path))
    listener.close()
    assert not path.exists()


def test_a_stale_unix_socket_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "gateway.sock"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
        dead.listen()
    [listener] = open_listeners((Listen("local", unix=str(path)),))
    listener.close()


def test_a_unix_socket_that_somebody_serves_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "gateway.sock"
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(path))
        other.listen()
        with pytest.raises(StartError, match="in use by another process"):
            open_listeners((Listen("local", unix=str(path)),))
        with socket.socket(socket.AF_UNIX) as sock:
            sock.connect(str(path))


def test_a_file_in_the_place_of_a_unix_socket_is_never_removed(tmp_path: Path) -> None:
    path = tmp_path / "precious"
    path.write_text("data")
    with pytest.raises(StartError):
        open_listeners((Listen("local", unix=str(path)),))
    assert path.read_text() == "data"


def test_localhost_is_every_address_it_has() -> None:
    listeners = open_listeners((Listen("main", "localhost", free_port()),))
    assert "127.0.0.1" in {listener.sock.getsockname()[0] for listener in listeners}
    for listener in listeners:
        listener.close()
    assert os.sep not in listeners[0].address.removeprefix("http://")


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_one_that_takes_no_more_keeps_what_waits_and_lets_nobody_new_in(host: str) -> None:
    [listener] = open_listeners((Listen("main", host, 0),))
    port = listener.sock.getsockname()[1]
    waiting = [socket.create_connection((host, port), 2) for _ in range(20)]
    listener.take_no_more()
    with pytest.raises(TimeoutError):
        socket.create_connection((host, port), 0.3)
    for sock in waiting:
        accepted, _ = listener.sock.accept()
        sock.sendall(b"still here")
        accepted.settimeout(2)
        assert accepted.recv(100) == b"still here"
        accepted.close()
        sock.close()
    listener.end()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((host, port), 2)


def test_a_unix_listener_that_takes_no_more_has_no_name(tmp_path: Path) -> None:
    path = tmp_path / "gateway.sock"
    [listener] = open_listeners((Listen("local", unix=str(path)),))
    with socket.socket(socket.AF_UNIX) as waiting, socket.socket(socket.AF_UNIX) as late:
        waiting.connect(str(path))
        listener.take_no_more()
        with pytest.raises(FileNotFoundError):
            late.connect(str(path))
        listener.sock.accept()[0].close()
    listener.end()


def test_an_address_that_becomes_free_is_waited_for() -> None:
    other = socket.create_server(("127.0.0.1", 0))
    wanted = (Listen("main", "127.0.0.1", other.getsockname()[1]),)
    threading.Timer(0.2, other.close).start()
    [listener] = open_listeners(wanted, patience=5.0)
    with pytest.raises(StartError, match="is in use"):
        open_listeners(wanted, patience=0.1)
    listener.close()
