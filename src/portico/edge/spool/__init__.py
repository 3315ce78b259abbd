"""The edge's end of the spool: a thread that writes what was counted to encrypted files."""

from __future__ import annotations

from portico.edge.spool.thread import Spool

__all__ = ["Spool"]
