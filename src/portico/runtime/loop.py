"""The supervisor's loop: descriptors, timers and signals in one thread, without asyncio."""

from __future__ import annotations

import heapq
import selectors
import signal
import socket
import time
from collections.abc import Callable, Iterable
from typing import Any, Final

READ: Final = selectors.EVENT_READ
WRITE: Final = selectors.EVENT_WRITE


class Timer:
    """A call at `when` (monotonic seconds) unless it is cancelled before."""

    def __init__(self, when: float, callback: Callable[[], None]) -> None:
        self.when = when
        self.callback = callback
        self.cancelled = False

    def cancel(self) -> None:
        self.cancelled = True

    def __lt__(self, other: Timer) -> bool:
        return self.when < other.when


class Loop:
    """Calls back when a descriptor is ready, a timer is due or a signal has come."""

    def __init__(self) -> None:
        self._selector: selectors.BaseSelector = selectors.DefaultSelector()
        self._timers: list[Timer] = []
        self._stopped = False
        self._wakeup: tuple[socket.socket, socket.socket] | None = None
        self._previous: dict[int, Any] = {}

    def watch(self, file: Any, events: int, callback: Callable[[int], None]) -> None:
        """Call `callback(events)` while `file` is ready; watching it again replaces what was asked before."""
        if file.fileno() in self._selector.get_map():
            self._selector.modify(file, events, callback)
        else:
            self._selector.register(file, events, callback)

    def unwatch(self, file: Any) -> None:
        """Stop watching; before `file` is closed."""
        if file.fileno() >= 0 and file.fileno() in self._selector.get_map():
            self._selector.unregister(file)

    def later(self, seconds: float, callback: Callable[[], None]) -> Timer:
        """Call `callback()` once in `seconds`."""
        timer = Timer(time.monotonic() + seconds, callback)
        heapq.heappush(self._timers, timer)
        return timer

    def take_signals(self, numbers: Iterable[signal.Signals], callback: Callable[[int], None]) -> None:
        """Call `callback(number)` from the loop, never in between, for each of these signals."""
        receiving, sending = socket.socketpair()
        receiving.setblocking(False)
        sending.setblocking(False)
        self._wakeup = (receiving, sending)
        signal.set_wakeup_fd(sending.fileno(), warn_on_full_buffer=False)
        for number in numbers:
            self._previous[number] = signal.signal(number, _ignore)

        def deliver(_: int) -> None:
            for number in receiving.recv(4096):
                callback(number)

        self.watch(receiving, READ, deliver)

    def run(self) -> None:
        """Until `stop`, also one that was said before."""
        while not self._stopped:
            for key, events in self._selector.select(self._patience()):
                if self._selector.get_map().get(key.fd) is not None:  # not unwatched by a callback just before
                    key.data(events)
            self._due()
        self._stopped = False

    def stop(self) -> None:
        self._stopped = True

    def close(self) -> None:
        """Give the signals back and release the descriptors."""
        if self._wakeup is not None:
            signal.set_wakeup_fd(-1)
            for number, handler in self._previous.items():
                signal.signal(number, handler)
            for sock in self._wakeup:
                sock.close()
            self._wakeup = None
        self._selector.close()

    def _patience(self) -> float | None:
        while self._timers and self._timers[0].cancelled:
            heapq.heappop(self._timers)
        return max(0.0, self._timers[0].when - time.monotonic()) if self._timers else None

    def _due(self) -> None:
        now = time.monotonic()
        while self._timers and self._timers[0].when <= now:
            timer = heapq.heappop(self._timers)
            if not timer.cancelled:
                timer.callback()


def _ignore(_number: int, _frame: Any) -> None:
    """The wakeup descriptor tells of the signal; a handler must be there for it to be written."""
