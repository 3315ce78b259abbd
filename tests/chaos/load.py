"""Steady load from threads: each request's end is kept, so that a test can say which ones failed, and when."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from types import TracebackType
from typing import Self

from portico.testing import GatewayHarness, Reader
from portico.testing.client import request_bytes


@dataclass(frozen=True, slots=True)
class Outcome:
    """One request: when it began and ended (monotonic seconds), and its status, or 0 and what went wrong."""

    began: float
    ended: float
    status: int
    error: str = ""


class Load:
    """`with Load(gateway, "/users/1") as load:` keeps requests coming from several connections until the block ends.

    `kept` connections are used again and again, as long as the gateway does not say `Connection: close`; `fresh`
    threads open a connection for each request. Nothing is ever tried again.
    """

    def __init__(
        self,
        gateway: GatewayHarness,
        path: str = "/users/1",
        *,
        kept: int = 4,
        fresh: int = 2,
        method: str = "GET",
        pause: float = 0.0,
        timeout: float = 20.0,
        headers: Mapping[str, str] | None = None,
        body: bytes | None = None,
    ) -> None:
        self.outcomes: list[Outcome] = []
        self._gateway = gateway
        self._path = path
        self._method = method
        self._headers = dict(headers or {})
        self._body = b"x" * 100 if body is None and method == "POST" else body
        self._pause = pause
        self._timeout = timeout
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._run, args=(True,), daemon=True) for _ in range(kept)]
        self._threads += [threading.Thread(target=self._run, args=(False,), daemon=True) for _ in range(fresh)]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.stop()

    def stop(self) -> None:
        """Begin no more requests; return when all have ended."""
        self._stop.set()
        for thread in self._threads:
            thread.join(self._timeout + 5)

    @property
    def count(self) -> int:
        return len(self.outcomes)

    def more(self, requests: int, timeout: float = 30.0) -> None:
        """Return when so many more requests have ended."""
        wanted = self.count + requests
        deadline = time.monotonic() + timeout
        while self.count < wanted:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{wanted - self.count} of {requests} requests have not ended")
            time.sleep(0.01)

    def failed(self, since: float = 0.0, but: tuple[int, ...] = ()) -> list[Outcome]:
        """Requests begun since then that have not ended with 200, or with one of the statuses in `but`."""
        return [each for each in self.outcomes if each.began >= since and each.status not in (200, *but)]

    def _run(self, keep: bool) -> None:
        sock: socket.socket | None = None
        while not self._stop.is_set():
            began = time.monotonic()
            try:
                if sock is None:
                    sock = self._gateway.connect(self._timeout)
                status, closing = self._ask(sock, keep)
            except ConnectionRefusedError as error:
                # Nobody listens, and nothing was accepted. The others have time to go on.
                self.outcomes.append(Outcome(began, time.monotonic(), 0, f"refused: {error}"))
                self._stop.wait(0.02)
                continue
            except (OSError, ValueError) as error:
                self.outcomes.append(Outcome(began, time.monotonic(), 0, f"{type(error).__name__}: {error}"))
                closing = True
            else:
                self.outcomes.append(Outcome(began, time.monotonic(), status))
            if closing and sock is not None:
                sock.close()
                sock = None
            if self._pause:
                self._stop.wait(self._pause)
        if sock is not None:
            sock.close()

    def _ask(self, sock: socket.socket, keep: bool) -> tuple[int, bool]:
        headers = {**self._headers, "Connection": "keep-alive" if keep else "close"}
        sock.sendall(request_bytes(self._method, self._path, "gateway", headers, self._body))
        answer = Reader(sock).answer(self._method)
        return answer.status, not keep or (answer.header("Connection") or "").lower() == "close"
