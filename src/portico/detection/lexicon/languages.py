"""Puts the languages' words together."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from portico.detection.lexicon import english, french, german, northern, others, romance, spanish

LANGUAGES: Final = (english, german, spanish, french, romance, northern, others)


def build(fold: Callable[[str], str]) -> dict[str, tuple[str, ...]]:
    """The concepts of every word of all languages, the words folded as texts are."""
    concepts: dict[str, set[str]] = {}
    for language in LANGUAGES:
        for name, listed in language.WORDS.items():
            for word in fold(listed).split():
                concepts.setdefault(word, set()).add(name)
    return {word: tuple(sorted(names)) for word, names in concepts.items()}
