"""The spool: what the edge has counted, on its way to the database. Encrypted, numbered records in files.

The edge writes (`writer`), the services read (`reader`), the supervisor measures (`measure`).
"""

from __future__ import annotations

from portico.telemetry.spool.format import SpoolKey
from portico.telemetry.spool.measure import Measures, measure
from portico.telemetry.spool.reader import Batch, Progress, Record, Scan, Segment, lives, read, segments
from portico.telemetry.spool.writer import SegmentWriter

__all__ = [
    "Batch",
    "Measures",
    "Progress",
    "Record",
    "Scan",
    "Segment",
    "SegmentWriter",
    "SpoolKey",
    "lives",
    "measure",
    "read",
    "segments",
]
