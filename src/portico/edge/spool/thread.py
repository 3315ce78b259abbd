"""The thread that writes the spool: what was counted is handed to it about once a second, and on disk soon after."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from queue import SimpleQueue
from typing import Final

from portico.edge.spool.backlog import PAUSE, Backlog
from portico.edge.usage import Taken, Usage
from portico.telemetry import logs
from portico.telemetry.spool import SegmentWriter, SpoolKey, measure

EVERY: Final = 0.55  # seconds between two takings, at least; the worker looks five times a second: at most 0.75
WAITING: Final = 4  # takings handed over and not yet written, above which the cells go on being counted
PARTING: Final = 5.0  # seconds for the last write
MOST: Final = 1024 * 1024 * 1024  # bytes of all segments in the folder, above which nothing more is written
SCARCE: Final = MOST // 2  # bytes above which requests in detail are not written
WEIGHED: Final = 5.0  # seconds for which the sum of them is believed


class Spool:
    """One worker's end. Until a key is known, and while the disk takes nothing, what was counted stays in memory."""

    def __init__(self, folder: str, usage: Usage, most: int = MOST) -> None:
        self.folder = Path(folder)
        self.usage = usage
        self.most = most
        self.lost = 0  # requests that were counted and could not be kept
        self._flushed = 0.0
        self._queue: SimpleQueue[Taken | SpoolKey | None] = SimpleQueue()
        self._thread: threading.Thread | None = None
        self._backlog = Backlog()
        self._writer: SegmentWriter | None = None
        self._key: SpoolKey | None = None
        self._weighed = -WEIGHED
        self._weight = 0
        self._failed = ""
        self._log = logs.get("portico.edge")

    def start(self, key: SpoolKey | None) -> None:
        """Begin to count and to write."""
        if self._thread is None:
            self.usage.on = True
            self.usage.full = self.flush
            self._thread = threading.Thread(target=self._run, name="spool", daemon=True)
            self._thread.start()
        if key is not None:
            self._queue.put(key)

    def turn(self, now: float) -> None:
        """Hand over what was counted, when it is time; `now` is monotonic."""
        if self._thread is not None and now - self._flushed >= EVERY:
            self._flushed = now
            self.flush()

    def flush(self) -> None:
        """Hand over what was counted, unless the thread is far behind: then it is merged where it is."""
        if self._queue.qsize() < WAITING:
            self._queue.put(self.usage.take(time.time()))

    def stop(self) -> None:
        """Count no more, and write what is left; waits some seconds at most."""
        thread, self._thread = self._thread, None
        if thread is None:
            return
        self.usage.on = False
        self.usage.full = None
        self._queue.put(self.usage.take(time.time()))
        self._queue.put(None)
        thread.join(PARTING)

    def counts(self) -> dict[str, int]:
        """What the metrics show."""
        backlog = self._backlog
        return {"usage_lost": self.lost, "usage_merged": backlog.merged, "requests_recent_dropped": backlog.dropped}

    # -- in the thread

    def _run(self) -> None:
        while True:
            handed = self._queue.get()
            try:
                if isinstance(handed, SpoolKey):
                    self._unlock(handed)
                elif handed is not None:
                    self._backlog.add(handed)
                self._write(time.time())
            except Exception as error:  # a thread that ends would take all that is counted from now on with it
                self._trouble(f"{type(error).__name__}: {error}")
            if handed is None:
                break
        self._end()

    def _unlock(self, key: SpoolKey) -> None:
        """Write with this key from now on."""
        if self._key is not None and self._key.id == key.id:
            return
        if self._writer is not None:
            self._writer.close()
        self._key = key
        self._writer = SegmentWriter(self.folder, key)

    def _write(self, wall: float) -> None:
        writer = self._writer
        if writer is None:
            return
        room = self.most - self._size()
        if room <= 0:
            self._trouble(f"{self.folder} holds {self.most >> 20} MiB that the services have not taken in")
            return
        try:
            for kind, rows in self._backlog.records(detail=room > self.most - SCARCE):
                self._weight += writer.append(kind, wall, rows)
                time.sleep(PAUSE)
            writer.sync()
        except OSError as error:
            self._trouble(error.strerror or str(error))
            return
        if self._failed:
            self._failed = ""
            self._log.info("usage is written again")

    def _size(self) -> int:
        """Bytes of all segments in the folder, about."""
        now = time.monotonic()
        if now - self._weighed > WEIGHED:
            self._weighed = now
            measured = measure(self.folder)
            self._weight = measured.bytes if measured is not None else 0
        return self._weight

    def _trouble(self, cause: str) -> None:
        if cause != self._failed:
            self._failed = cause
            self._log.error("usage can't be written now and is merged in memory", cause=cause)

    def _end(self) -> None:
        if self._writer is not None:
            self._writer.close()
        left = self._backlog.requests
        if left:
            self.lost += left
            why = self._failed or "the services have never said with which key"
            self._log.error("usage is lost: it could not be written before the stop", requests=left, cause=why)
