"""The embedded detector as a judge: in slices, so that it keeps nobody waiting."""

from __future__ import annotations

import asyncio

from portico.detection import Detector, Settings, Verdict
from portico.services.detection.judging import EMBEDDED, Judged, Question


class Embedded:
    """Runs on the loop of the services. The detector is made with the first text: 5 MB, 50 ms."""

    def __init__(self) -> None:
        self._detector: Detector | None = None
        self._making = asyncio.Lock()

    async def judge(self, question: Question) -> Judged:
        """The answer. Others get their turn after each slice."""
        detector = self._detector or await self._made()
        for verdict in detector.scan(question.text, Settings(question.threshold)):
            if verdict:
                return _judged(verdict)
            await asyncio.sleep(0)
        raise AssertionError("a scan ends with a verdict")

    async def version(self) -> str:
        """Of one version all answers are alike."""
        return (self._detector or await self._made()).version

    async def _made(self) -> Detector:
        async with self._making:
            if self._detector is None:
                self._detector = await asyncio.to_thread(Detector)
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
