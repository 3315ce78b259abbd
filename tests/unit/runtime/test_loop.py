"""The supervisor's loop: timers in order, descriptors, signals delivered between callbacks."""

from __future__ import annotations

import os
import signal
import socket
import time
from collections.abc import Iterator

import pytest

from portico.runtime.loop import READ, WRITE, Loop


@pytest.fixture
def loop() -> Iterator[Loop]:
    made = Loop()
    yield made
    made.close()


def test_timers_run_in_order_and_not_early(loop: Loop) -> None:
    seen: list[tuple[str, float]] = []
    began = time.monotonic()
    loop.later(0.06, lambda: (seen.append(("second", time.monotonic() - began)), loop.stop()))  # type: ignore[func-returns-value]
    loop.later(0.02, lambda: seen.append(("first", time.monotonic() - began)))
    loop.run()
    assert [name for name, _ in seen] == ["first", "second"]
    assert seen[0][1] >= 0.02
    assert seen[1][1] >= 0.06


def test_a_cancelled_timer_never_runs(loop: Loop) -> None:
    seen: list[str] = []
    loop.later(0.01, lambda: seen.append("cancelled")).cancel()
    loop.later(0.03, loop.stop)
    loop.run()
    assert seen == []


def test_reading_and_writing(loop: Loop) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        got: list[bytes] = []

        def readable(_: int) -> None:
            got.append(theirs.recv(10))
            loop.stop()

        def writable(_: int) -> None:
            loop.unwatch(ours)
            ours.sendall(b"hello")

        loop.watch(theirs, READ, readable)
        loop.watch(ours, WRITE, writable)
        loop.run()
        loop.unwatch(theirs)
    assert got == [b"hello"]


def test_watching_again_replaces_the_callback(loop: Loop) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        seen: list[str] = []
        loop.watch(ours, WRITE, lambda _: seen.append("old"))
        loop.watch(ours, WRITE, lambda _: (seen.append("new"), loop.stop()))  # type: ignore[func-returns-value]
        loop.run()
        loop.unwatch(ours)
    assert set(seen) == {"new"}


def test_what_a_callback_unwatches_is_not_called_in_the_same_round(loop: Loop) -> None:
    a, b = socket.socketpair()
    with a, b:
        seen: list[str] = []

        def first(name: str) -> None:
            seen.append(name)
            loop.unwatch(a)
            loop.unwatch(b)
            loop.stop()

        loop.watch(a, WRITE, lambda _: first("a"))
        loop.watch(b, WRITE, lambda _: first("b"))
        loop.run()
    assert len(seen) == 1


def test_signals_arrive_in_the_loop_and_handlers_come_back() -> None:
    before = signal.getsignal(signal.SIGUSR1)
    loop = Loop()
    seen: list[int] = []

    def taken(number: int) -> None:
        seen.append(number)
        loop.stop()

    loop.take_signals([signal.SIGUSR1], taken)
    loop.later(0.01, lambda: os.kill(os.getpid(), signal.SIGUSR1))
    loop.run()
    loop.close()
    assert seen == [signal.SIGUSR1]
    assert signal.getsignal(signal.SIGUSR1) == before
