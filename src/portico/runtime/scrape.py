"""The counters of all edge workers and services processes, also of those that are gone."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from portico.runtime.child import Child
from portico.runtime.gather import Answers, Gatherer
from portico.runtime.loop import Loop
from portico.runtime.options import EDGE, SERVICES
from portico.runtime.tree import Tree

if TYPE_CHECKING:
    from portico.telemetry.metrics import Totals

FIRST: Final = -1  # begin with the first page once more
EVERY: Final = 2.0  # seconds; what a worker counted after its last report is lost when it is killed


class Reading:
    """What one worker has told so far of its counters. They come in pages, so that none holds it up for long."""

    def __init__(self) -> None:
        self.epoch = -1
        self.counters: dict[str, Any] = {}

    def take(self, page: dict[str, Any]) -> int:
        """Add a page; the number of the next one, 0 when all is there. Routes have gone meanwhile: begin anew."""
        if page["epoch"] != self.epoch and self.epoch >= 0:
            self.epoch, self.counters = -1, {}
            return FIRST
        self.epoch = page["epoch"]
        for name, value in page.items():
            if isinstance(value, list) and name != "bounds":
                self.counters.setdefault(name, []).extend(value)
            elif value:
                self.counters[name] = value
        return int(page["next"])


class Scraper:
    """Asks the edge workers for their counters when somebody wants them, and now and then besides."""

    def __init__(self, loop: Loop, gatherer: Gatherer, tree: Tree) -> None:
        self._loop = loop
        self._gatherer = gatherer
        self._tree = tree
        self._totals: Totals | None = None
        self._asking: list[Callable[[], None]] | None = None  # those who wait for the answers to come
        self._reading: dict[int, Reading] = {}  # by pid, of workers that have not told everything yet

    def start(self) -> None:
        """Begin to ask regularly."""
        self._loop.later(EVERY, self._regularly)

    def totals(self) -> Totals:
        """What was counted so far."""
        if self._totals is None:
            from portico.telemetry.metrics import Totals  # loads the exposition library: not while starting

            self._totals = Totals()
        return self._totals

    def scrape(self, done: Callable[[], None]) -> None:
        """Call `done()` when the workers' newest counters are in `totals`; who asks meanwhile shares the answers."""
        if self._asking is not None:
            self._asking.append(done)
            return
        self._asking = [done]
        children = self._tree.answering(EDGE)
        self._reading = {child.pid: Reading() for child in children}
        for child in children:
            self._ask(child, child.pid, 0)
        self._check()

    def lag(self) -> dict[str, float]:
        """Seconds, by process: the event-loop lag that each reported last."""
        children = self._tree.answering(EDGE, SERVICES)
        return {child.name: child.report["lag"] for child in children if "lag" in child.report}

    def last(self, child: Child, report: Any) -> None:
        """Take what a worker had counted when it was done."""
        if isinstance(report, dict):
            self.totals().update(child.pid, report)

    def retire(self, child: Child, pid: int) -> None:
        """A process is gone; what it had counted stays."""
        if self._totals is not None:
            self._totals.retire(pid)

    def _ask(self, child: Child, pid: int, first: int) -> None:
        asked = {"first": max(first, 0)}
        self._gatherer.ask([child], "counters", lambda answers: self._arrived(child, pid, answers), page=asked)

    def _arrived(self, child: Child, pid: int, answers: Answers) -> None:
        """Take a page; without one the worker has gone, or takes too long: what it told last stays."""
        reading = self._reading.get(pid)
        if reading is None:
            return
        following = 0
        if answers and child.pid == pid:
            following = reading.take(answers[0][1])
            if not following:
                self.totals().update(pid, reading.counters)
        if following:
            self._ask(child, pid, following)
        else:
            del self._reading[pid]
            self._check()

    def _reported(self, answers: Answers) -> None:
        """Take what the services count; their lag is kept with them."""
        for child, report in answers:
            if report.get("counts"):
                self.totals().update(child.pid, {"counts": report["counts"]})

    def _check(self) -> None:
        if not self._reading and self._asking is not None:
            waiting, self._asking = self._asking, None
            for done in waiting:
                done()

    def _served(self, answers: Answers) -> None:
        for child, report in answers:
            if "counted" in report:
                self.totals().update(child.pid, report["counted"])

    def _regularly(self) -> None:
        self.scrape(lambda: None)
        self._gatherer.ask(self._tree.ready(SERVICES), "report", self._served)  # their lag is kept with them
        self._loop.later(EVERY, self._regularly)
