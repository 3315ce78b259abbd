"""The words that rules are made of, by concept and language. A rule fits every language that has its concepts."""

from __future__ import annotations

from portico.detection.lexicon.languages import build

__all__ = ["build"]
