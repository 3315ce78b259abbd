"""Words of a folded text, and where they were."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import Final

_SINGLE: Final = "\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff"  # scripts that write no spaces: a character is a word
MOST_LETTERS: Final = 24  # a longer word is cut up, so that nobody has us remember long ones


class Tokens:
    """Cuts folded texts into words, and marks that end a sentence or a line."""

    def __init__(self, known: Iterable[str]) -> None:
        unspaced = sorted((word for word in known if re.match(f"[{_SINGLE}]", word)), key=len, reverse=True)
        listed = "|".join(re.escape(word) for word in unspaced if len(word) > 1)
        words = f"[^\\W_{_SINGLE}]{{1,{MOST_LETTERS}}}"
        self._pattern = re.compile(f"{words}|[.!?;:\n]|{listed}|[{_SINGLE}]" if listed else f"{words}|[.!?;:\n]")

    def split(self, folded: str) -> list[str]:
        """The words and marks of `folded`, in order."""
        return self._pattern.findall(folded)


def places_of(words: list[str], folded: str) -> list[tuple[int, int]]:
    """Where the first `words` of `folded` begin and end. Between them are no letters: the next one found is theirs."""
    places: list[tuple[int, int]] = []
    end = 0
    for word in words:
        start = folded.index(word, end)
        end = start + len(word)
        places.append((start, end))
    return places
