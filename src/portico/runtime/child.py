"""One place in the process tree: the process that fills it now, its channel, and when it may be started again."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
from typing import Any, Final

from portico.errors import ChannelError
from portico.kernel.channel import Channel, Message

WAITING: Final = "waiting"  # not running: for its turn, or until the back-off is over
STARTING: Final = "starting"
READY: Final = "ready"
DRAINING: Final = "draining"
STOPPED: Final = "stopped"

FIRST_DELAY: Final = 0.1  # seconds before a dead process is started again; doubles up to
LONGEST_DELAY: Final = 5.0
STEADY: Final = 10.0  # seconds alive after which the delay begins anew


class Child:
    """A process of one role; when it dies another takes its place under the same role and index.

    During a restart two of them have the same place: the one that goes and the one that comes.
    """

    def __init__(self, role: str, index: int, module: str, *options: str) -> None:
        self.role = role
        self.index = index
        self.module = module
        self.options = options
        self.state = WAITING
        self.process: subprocess.Popen[bytes] | None = None
        self.channel: Channel | None = None
        self.started = 0.0  # monotonic seconds
        self.restarts = 0
        self.delay = FIRST_DELAY
        self.failure = ""  # the sentence with which it gave up by itself
        self.was_ready = False  # this process, not one before it
        self.deaf = False  # it takes nothing from the listening sockets any more
        self.sent_version = 0  # of the snapshot that it runs, or was sent
        self.report: dict[str, Any] = {}

    def heir(self) -> Child:
        """Another process for the same place, that is to take over from this one."""
        child = Child(self.role, self.index, self.module, *self.options)
        child.restarts = self.restarts
        return child

    @property
    def name(self) -> str:
        return f"{self.role} {self.index}"

    @property
    def pid(self) -> int:
        """0 when no process is running."""
        return self.process.pid if self.process is not None else 0

    def spawn(self, listeners: list[int], now: float) -> Channel:
        """Start the process with its end of the channel and the listening sockets' descriptors, and nothing else."""
        ours, theirs = socket.socketpair()
        ours.setblocking(False)
        with theirs:
            # -P: the working directory is no place to import from. A process group of its own: Ctrl-C in a terminal
            # reaches the supervisor alone, which then drains in order.
            command = [sys.executable, "-P", "-m", self.module, *self.options, str(theirs.fileno())]
            try:
                self.process = subprocess.Popen(
                    command, stdin=subprocess.DEVNULL, pass_fds=(theirs.fileno(), *listeners), process_group=0
                )
            except OSError:
                ours.close()
                raise
        self.channel = Channel(ours)
        self.state = STARTING
        self.started = now
        self.failure = ""
        self.was_ready = self.deaf = False
        self.report = {}
        return self.channel

    def send(self, message: Message) -> bool:
        """Whether the message is on its way; a child whose channel fails is killed, and its death then noticed."""
        if self.channel is None:
            return False
        try:
            self.channel.send(message)
        except ChannelError:
            self.kill()
            return False
        return True

    def kill(self, number: int = signal.SIGKILL) -> None:
        """Signal the process if it still runs."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(number)

    def ended(self, now: float) -> float:
        """Forget the dead process; the seconds to wait before the next one."""
        if self.channel is not None:
            self.channel.close()
        self.channel = None
        self.process = None
        if now - self.started >= STEADY:
            self.delay = FIRST_DELAY
        wait = self.delay
        self.delay = min(self.delay * 2, LONGEST_DELAY)
        self.state = WAITING
        return wait


def how_it_ended(code: int) -> str:
    """A return code of `subprocess` in words."""
    if code >= 0:
        return f"ended with code {code}"
    try:
        return f"was killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"was killed by signal {-code}"
