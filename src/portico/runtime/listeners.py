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
import struct
import time
from array import array
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

from portico.contracts import Listen
from portico.errors import StartError

BACKLOG: Final = 4096
RETRY: Final = 0.02  # seconds

# A packet filter (Linux, networking/filter.rst) that drops a SYN without ACK, which begins a connection, and passes
# everything else: load the flags (byte 13 of the TCP header), keep SYN and ACK, compare with SYN alone, drop or pass.
NO_SYN: Final = ((0x30, 0, 0, 13), (0x54, 0, 0, 0x12), (0x15, 0, 1, 0x02), (0x06, 0, 0, 0), (0x06, 0, 0, 0xFFFFFFFF))
SO_ATTACH_FILTER: Final = 26


@dataclass(frozen=True, slots=True)
class Listener:
    """An open listening socket; `address` is what people are shown."""

    name: str
    sock: socket.socket
    address: str
    unix: str = ""

    def take_no_more(self) -> None:
        """Let no new connection begin. Those whose handshake is under way still come into the queue, and stay there.

        Closing the socket would reset what waits in its queue; so first nothing more comes in, then the queue is
        taken, and only then it is closed.
        """
        if self.unix:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(self.unix)
            return
        program = array("B", b"".join(struct.pack("HBBI", *step) for step in NO_SYN))
        try:
            self.sock.setsockopt(
                socket.SOL_SOCKET, SO_ATTACH_FILTER, struct.pack("HP", len(NO_SYN), program.buffer_info()[0])
            )
        except OSError:  # no such filters here: the shortest queue there is loses at most one connection
            self.sock.listen(0)

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


class _InUse(StartError):
    """The address is another's, or is still that of a gateway which was killed a moment ago."""


def open_listeners(wanted: tuple[Listen, ...], patience: float = 0.0) -> list[Listener]:
    """Open every address, or none: StartError says which one can't be had, and why.

    An address in use is waited for, for `patience` seconds.
    """
    deadline = time.monotonic() + patience
    while True:
        try:
            return _open(wanted)
        except _InUse:
            if time.monotonic() > deadline:
                raise
            time.sleep(RETRY)


def _open(wanted: tuple[Listen, ...]) -> list[Listener]:
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
            opened.append(_bind(listen, family, address))
        except OSError as error:
            failed = error
            if error.errno not in (errno.EADDRNOTAVAIL, errno.EAFNOSUPPORT):
                break
    if failed is not None and (not opened or failed.errno == errno.EADDRINUSE):
        for listener in opened:
            listener.close()
        raise _refused(where, failed)
    return opened


def _bind(listen: Listen, family: int, address: Any) -> Listener:
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
    return Listener(listen.name, sock, f"{'https' if listen.tls.on else 'http'}://{shown}:{port}")


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
        return _InUse(f"{where} is in use by another process", "choose another --port, or stop that process")
    if error.errno == errno.EACCES:
        return StartError(f"{where}: this user may not listen there", "ports below 1024 need CAP_NET_BIND_SERVICE")
    return StartError(f"can't listen on {where}: {error.strerror}")
