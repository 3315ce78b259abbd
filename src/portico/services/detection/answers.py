"""From a judge's answer to what a caller is told."""

from __future__ import annotations

from typing import Any

from portico.services.detection.judging import Judged


def fields(judged: Judged, seconds: float, reasoning: bool) -> dict[str, Any]:
    """The fields of a `Verdict`; `seconds` is how long it took, without `reasoning` there is no
    reason, unless nobody judged."""
    return {
        "is_malicious": judged.is_malicious,
        "confidence": judged.confidence,
        "threat_types": list(judged.threat_types),
        "reason": judged.reason if reasoning or judged.unjudged else "",
        "processing_time_ms": round(seconds * 1000, 3),
        "cache_hit": judged.cache_hit,
        "engine": judged.engine,
        "degraded": judged.degraded,
    }
