"""Whom the edge knows: callers by key and by token, kept fresh by the services."""

from __future__ import annotations

from portico.edge.callers.callers import Callers

__all__ = ["Callers"]
