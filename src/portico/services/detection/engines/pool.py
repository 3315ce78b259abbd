"""All engines as one judge: the first that can answers, and the embedded detector when none does."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from typing import Final

from portico import contracts
from portico.errors import EngineFailed
from portico.kernel.plugin import Health
from portico.outbound import rules
from portico.services.detection.engines.engine import Engine
from portico.services.detection.engines.wire import Verdict
from portico.services.detection.judging import Judge, Judged, Question, ReviewQueue
from portico.telemetry import logs
from portico.telemetry.counts import Counts

EMBEDDED: Final = "embedded"  # these are words of `on_engine_timeout`
FLAG: Final = "flag"
ANSWERS: Final = {  # confidence, whether malicious, and why
    FLAG: (0.5, False, "no engine judged the text in time; it is kept for review"),
    "allow": (0.0, False, "no engine judged the text in time; it is let through unjudged"),
    "block": (1.0, True, "no engine judged the text in time; it is blocked unjudged"),
}
WHY: Final = "engine_timeout"
PATIENCE: Final = 2.0  # seconds for the review queue


class Engines:
    """A judge before `embedded`. `reviews`, where there is one, gets texts that are flagged because time ran out."""

    def __init__(
        self, wanted: contracts.Detection, outbound: contracts.Outbound, counts: Counts, embedded: Judge
    ) -> None:
        guard = rules.guard(outbound, operator=True)
        self.reviews: ReviewQueue | None = None
        self._counts = counts
        self._embedded = embedded
        self._policy = wanted.on_engine_timeout
        self._engines = [Engine(each, guard, outbound.proxy, counts, self._publish) for each in wanted.engines]

    async def start(self) -> None:
        """Make ready; opens no connection yet."""
        for engine in self._engines:
            await engine.start()
        self._counts.add("detection_reviews_lost", (), 0)  # shown before there is one
        self._publish()

    async def stop(self) -> None:
        """Let calls in flight end, for some seconds; then close every connection."""
        await asyncio.gather(*(engine.stop() for engine in self._engines))

    def health(self) -> Mapping[str, Health]:
        """Each engine, as engine.NAME."""
        return {f"engine.{engine.name}": engine.health() for engine in self._engines}

    async def judge(self, question: Question) -> Judged:
        """The verdict of the first engine that has one.

        When the last one that was asked ran out of time, what `on_engine_timeout` says; otherwise the embedded
        detector's, as degraded.
        """
        late = ""
        for engine in self._engines:
            if engine.ejected:
                continue
            try:
                verdict = await engine.judge(question.text, question.threshold)
            except EngineFailed as error:
                late = engine.name if error.late else ""
                continue
            return _judged(question, verdict, engine.name)
        if late and self._policy != EMBEDDED:
            return await self._unjudged(question, late)
        self._counts.add("detection_degraded", (EMBEDDED,))
        return replace(await self._embedded.judge(question), degraded=True)

    async def _unjudged(self, question: Question, engine: str) -> Judged:
        confidence, is_malicious, reason = ANSWERS[self._policy]
        judged = Judged(is_malicious, confidence, (), reason, engine, degraded=True, unjudged=True)
        self._counts.add("detection_degraded", (self._policy,))
        if self._policy == FLAG and self.reviews is not None:
            await self._review(self.reviews, question, judged)
        return judged

    async def _review(self, reviews: ReviewQueue, question: Question, judged: Judged) -> None:
        """Keep the text for a person. The answer does not hang on it."""
        try:
            async with asyncio.timeout(PATIENCE):
                await reviews.put(question, judged, WHY)
        except Exception as error:
            self._counts.add("detection_reviews_lost", ())
            logs.get("portico.detection").error("a text can't be kept for review", cause=type(error).__name__)

    def _publish(self) -> None:
        ejected: dict[tuple[str, ...], float] = {(engine.name,): float(engine.ejected) for engine in self._engines}
        self._counts.gauge("detection_engine_ejected", ejected)


def _judged(question: Question, verdict: Verdict, engine: str) -> Judged:
    is_malicious = verdict.confidence >= question.threshold
    threats = verdict.threat_types if is_malicious else ()
    return Judged(is_malicious, verdict.confidence, threats, verdict.reason, engine)
