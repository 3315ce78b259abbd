"""The counters of all edge workers, also of those that are gone."""

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

EVERY: Final = 2.0  # seconds; what a worker counted after its last report is lost when it is killed


class Scraper:
    """Asks the edge workers for their counters when somebody wants them, and now and then besides."""

    def __init__(self, loop: Loop, gatherer: Gatherer, tree: Tree) -> None:
        self._loop = loop
        self._gatherer = gatherer
        self._tree = tree
        self._totals: Totals | None = None
        self._asking: list[Callable[[], None]] | None = None  # those who wait for the answers to come

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
        self._gatherer.ask(self._tree.answering(EDGE), "report", self._arrived)

    def lag(self) -> dict[str, float]:
        """Seconds, by process: the event-loop lag that each reported last."""
        children = self._tree.answering(EDGE, SERVICES)
        return {child.name: child.report["lag"] for child in children if "lag" in child.report}

    def last(self, child: Child, report: Any) -> None:
        """Take what a worker had counted when it was done."""
        if child.role == EDGE and isinstance(report, dict) and "counters" in report:
            self.totals().update(child.pid, report["counters"])

    def retire(self, child: Child, pid: int) -> None:
        """A process is gone; what it had counted stays."""
        if child.role == EDGE and self._totals is not None:
            self._totals.retire(pid)

    def _arrived(self, answers: Answers) -> None:
        for child, body in answers:
            if child.pid and "counters" in body:
                self.totals().update(child.pid, body["counters"])
        waiting, self._asking = self._asking or [], None
        for done in waiting:
            done()

    def _regularly(self) -> None:
        self.scrape(lambda: None)
        self._gatherer.ask(self._tree.ready(SERVICES), "report", lambda _: None)  # their lag is kept with them
        self._loop.later(EVERY, self._regularly)
