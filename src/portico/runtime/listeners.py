"""The listening sockets. The supervisor opens them once and keeps them; every edge worker gets the same ones.

A socket that stays open here loses no connection when a worker dies: what waits in its queue is taken by another
worker, or by the next one (SO_REUSEPORT would give each worker a queue of its own, which dies with it).
"""

from __future__ import annotations

import contextlib
import errno
import os
import socket
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from portico.contracts import Listen
from portico.errors import StartError

BACKLOG: Final = 4096


@dataclass(frozen=True, slots=True)
class Listener:
    """An open listening socket; `address` is what people are shown."""

    name: str
    sock: socket.socket
    address: str
    unix: str = ""

    def end(self) -> None:
        """Nobody listens here any more, not even a worker that hangs: its descriptor is of the same socket."""
        with contextlib.suppress(OSError):  # ENOTCONN: it has ended already
            self.sock.shutdown(socket.SHUT_RDWR)
        self.close()

    def close(self) -> None:
        """Close this process's descriptor and remove a Unix socket's name."""
        self.sock.close()
        if self.unix:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self.unix)


def open_listeners(wanted: tuple[Listen, ...]) -> list[Listener]:
    """Open every address, or none: StartError says which one can't be had, and why."""
    opened: list[Listener] = []
    try:
        for listen in wanted:
            opened += [_unix(listen)] if listen.unix else _tcp(listen)
    except BaseException:
        for listener in opened:
            listener.close()
        raise
    return opened


def _tcp(listen: Listen) -> list[Listener]:
    where = f"{listen.host}:{listen.port}"
    try:
        found = socket.getaddrinfo(listen.host, listen.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        raise StartError(f"can't listen on {where}: {error.strerror}") from error
    opened: list[Listener] = []
    failed: OSError | None = None
    for family, _, _, _, address in dict.fromkeys(found):  # "localhost" has an IPv4 and an IPv6 address
        try:
            opened.append(_bind(listen.name, family, address))
        except OSError as error:
            failed = error
            if error.errno not in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
                break
    if failed is not None and (not opened or failed.errno == errno.EADDRINUSE):
        for listener in opened:
            listener.close()
        raise _refused(where, failed)
    return opened


def _bind(name: str, family: int, address: Any) -> Listener:
    sock = socket.socket(family, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # what is accepted inherits it
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind(address)
        sock.listen(BACKLOG)
        sock.setblocking(False)
    except OSError:
        sock.close()
        raise
    host, port = sock.getsockname()[:2]
    shown = f"[{host}]" if family == socket.AF_INET6 else host
    return Listener(name, sock, f"http://{shown}:{port}")


def _unix(listen: Listen) -> Listener:
    path = Path(listen.unix)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        _remove_stale(path)
        sock.bind(str(path))
        os.chmod(path, 0o600)
        sock.listen(BACKLOG)
        sock.setblocking(False)
    except OSError as error:
        sock.close()
        raise _refused(f"unix:{path}", error) from error
    return Listener(listen.name, sock, f"unix:{path}", str(path))


def _remove_stale(path: Path) -> None:
    """Remove a socket that nobody listens on any more; anything else stays and makes `bind` fail."""
    try:
        if not stat.S_ISSOCK(path.lstat().st_mode):
            return
    except FileNotFoundError:
        return
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink()


def _refused(where: str, error: OSError) -> StartError:
    if error.errno == errno.EADDRINUSE:
        return StartError(f"{where} is in use by another process", "choose another --port, or stop that process")
    if error.errno == errno.EACCES:
        return StartError(f"{where}: this user may not listen there", "ports below 1024 need CAP_NET_BIND_SERVICE")
    return StartError(f"can't listen on {where}: {error.strerror}")
