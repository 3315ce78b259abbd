"""Looks for the rules in the words of a text."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from dataclasses import dataclass
from typing import Final

from portico.detection.rules import Rule

SENTENCE: Final = 3  # how much farther apart words are when a sentence or a line ends between them
MOST_EACH: Final = 3  # findings of one rule in one text
MARKS: Final = frozenset(".!?;:\n")


@dataclass(frozen=True, slots=True)
class Match:
    """Words `first` to `last` of a text fit `rule`."""

    rule: Rule
    first: int
    last: int


class Places:
    """Where the words of one concept are: their numbers, and how far they are from the beginning, both ascending."""

    __slots__ = ("distances", "indexes")

    def __init__(self) -> None:
        self.indexes: list[int] = []
        self.distances: list[int] = []


class Matcher:
    """The rules, ready to be looked for."""

    def __init__(self, rules: tuple[Rule, ...], words: dict[str, tuple[str, ...]]) -> None:
        self._words = words
        self._rules = rules

    def matches(self, words: list[str]) -> list[Match]:
        """Every place where a rule fits, at most three a rule. Takes time in proportion to the number of words."""
        places = self._places(words)
        found: list[Match] = []
        for rule in self._rules:
            if all(need in places for need in rule.needs):
                found += _fits(rule, [places[need] for need in rule.needs])
        return found

    def _places(self, words: list[str]) -> dict[str, Places]:
        known = self._words
        places: dict[str, Places] = {}
        gaps = 0
        for index, word in enumerate(words):
            if word in known:
                for concept in known[word]:
                    if concept not in places:
                        places[concept] = Places()
                    place = places[concept]
                    place.indexes.append(index)
                    place.distances.append(index + gaps)
            elif word in MARKS:
                gaps += SENTENCE
        return places


def _fits(rule: Rule, needs: list[Places]) -> list[Match]:
    """Starts from each word of the rarest concept, and looks on both sides for the nearest of the others."""
    rarest = min(range(len(needs)), key=lambda place: len(needs[place].indexes))
    look = _in_order if rule.ordered else _nearest
    found: list[Match] = []
    behind = -1
    for at, distance in zip(needs[rarest].indexes, needs[rarest].distances, strict=True):
        if at <= behind:
            continue
        indexes = look(needs, rarest, at, distance, rule.span)
        if indexes:
            behind = max(indexes)
            found.append(Match(rule, min(indexes), behind))
            if len(found) == MOST_EACH:
                break
    return found


def _in_order(needs: list[Places], anchor: int, at: int, distance: int, span: int) -> list[int] | None:
    """The words of the tightest run through `anchor` in the order of `needs`, when it is no longer than `span`."""
    indexes = [at]
    first = last = distance
    for place in range(anchor - 1, -1, -1):
        found = bisect_right(needs[place].distances, first) - 1
        if found < 0 or last - needs[place].distances[found] > span:
            return None
        first = needs[place].distances[found]
        indexes.append(needs[place].indexes[found])
    for place in range(anchor + 1, len(needs)):
        found = bisect_left(needs[place].distances, last)
        if found == len(needs[place].distances) or needs[place].distances[found] - first > span:
            return None
        last = needs[place].distances[found]
        indexes.append(needs[place].indexes[found])
    return indexes


def _nearest(needs: list[Places], anchor: int, at: int, distance: int, span: int) -> list[int] | None:
    """The words of each concept nearest to `anchor`, when all lie within `span`."""
    indexes = [at]
    first = last = distance
    for place, need in enumerate(needs):
        if place == anchor:
            continue
        after = bisect_left(need.distances, distance)
        near = [one for one in (after - 1, after) if 0 <= one < len(need.distances)]
        found = min(near, key=lambda one: abs(need.distances[one] - distance))
        first = min(first, need.distances[found])
        last = max(last, need.distances[found])
        if last - first > span:
            return None
        indexes.append(need.indexes[found])
    return indexes
