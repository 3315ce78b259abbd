"""Whether a text tries to take over a language model: rules that explain themselves, and a small trained model.

Pure: no file but its weights, no clock, no network. How it works, how good it is and where it fails stands in
docs/explanation/detector.md.
"""

from __future__ import annotations

from portico.detection.detector import Detector
from portico.detection.inputs import MAX_CHARACTERS, UnfitText, check_text
from portico.detection.scanning import OVERLAP, scan_windows, windows
from portico.detection.verdict import THREATS, Finding, Settings, Verdict

__all__ = [
    "MAX_CHARACTERS",
    "OVERLAP",
    "THREATS",
    "Detector",
    "Finding",
    "Settings",
    "UnfitText",
    "Verdict",
    "check_text",
    "scan_windows",
    "windows",
]
