"""The embedded detector as a judge: in slices, so that it keeps nobody waiting."""

from __future__ import annotations

import asyncio
from typing import Final

from portico.detection import Detector, Settings, Verdict
from portico.services.detection.judging import EMBEDDED, Judged, Question

SHORT: Final = 2000  # characters, which take 1 ms


class Embedded:
    """Runs on the loop of the services. The detector is made with the first text: 5 MB, 50 ms."""

    def __init__(self) -> None:
        self._detector: Detector | None = None
        self._making: asyncio.Task[Detector] | None = None

    async def judge(self, question: Question) -> Judged:
        """The answer. Others get their turn after each slice of a text that is not short."""
        detector = self._detector or await self._made()
        settings = Settings(question.threshold)
        if len(question.text) <= SHORT:
            return _judged(detector.detect(question.text, settings))
        for verdict in detector.scan(question.text, settings):
            if verdict:
                return _judged(verdict)
            await asyncio.sleep(0)
        raise AssertionError("a scan ends with a verdict")

    async def version(self) -> str:
        """Of one version all answers are alike."""
        return (self._detector or await self._made()).version

    async def _made(self) -> Detector:
        # One task for all who wait: a lock would let them go on one at a turn of a busy loop.
        if self._making is None:
            self._making = asyncio.create_task(asyncio.to_thread(Detector))
        self._detector = await asyncio.shield(self._making)
        return self._detector


def _judged(verdict: Verdict) -> Judged:
    return Judged(
        verdict.is_malicious,
        verdict.confidence,
        verdict.threat_types,
        verdict.reason,
        EMBEDDED,
        findings=verdict.findings,
    )
