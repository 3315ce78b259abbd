"""Judges payloads of any length in overlapping windows, for guards."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from portico.detection.detector import DEFAULTS, Detector
from portico.detection.verdict import Settings, Verdict

WINDOW: Final = 8_000
OVERLAP: Final = 1_000  # an attack up to so long is never cut in two


def scan_windows(detector: Detector, text: str, settings: Settings = DEFAULTS) -> Iterator[Verdict | None]:
    """Slices as of `Detector.scan`, and a verdict for each window of `text`; places count from the text's beginning.

    Whoever needs one verdict takes the worst, and may stop at the first that is malicious.
    """
    for start, piece in windows(text):
        for verdict in detector.scan(piece, settings):
            yield verdict and _moved(verdict, start)


def windows(text: str) -> Iterator[tuple[int, str]]:
    """The windows of `text`, at least one, each with the place where it begins."""
    for start in range(0, max(1, len(text) - OVERLAP), WINDOW - OVERLAP):
        yield start, text[start : start + WINDOW]


def _moved(verdict: Verdict, by: int) -> Verdict:
    moved = tuple(replace(one, start=one.start + by, end=one.end + by) for one in verdict.findings)
    return replace(verdict, findings=moved)
