"""Rules: near enough, in order, in every language, and made of concepts rather than quotations."""

from __future__ import annotations

from portico.detection import THREATS, lexicon
from portico.detection.folding import Folder
from portico.detection.lexicon.languages import LANGUAGES
from portico.detection.marks import MARKS
from portico.detection.matching import MOST_EACH, Matcher
from portico.detection.rules import RULES, Rule
from portico.detection.tokens import Tokens

WORDS = {"cut": ("A",), "old": ("B",), "rule": ("C",), "both": ("A", "B")}


def places(text: str, rule: Rule) -> list[tuple[int, int]]:
    words = Tokens(WORDS).split(text)
    return [(match.first, match.last) for match in Matcher((rule,), WORDS).matches(words)]


def test_in_order_and_near() -> None:
    rule = Rule("r", "injection", 2, ("A", "B", "C"), 4)
    assert places("please cut the old rule now", rule) == [(1, 4)]
    assert places("the old rule is cut", rule) == []
    assert places("cut a b c d old rule", rule) == []
    assert places("cut. old rule", rule) == []  # the end of a sentence counts as four words
    assert places("cut cut old old rule", rule) == [(1, 4)]


def test_in_any_order() -> None:
    rule = Rule("r", "injection", 2, ("A", "B", "C"), 4, ordered=False)
    assert places("the old rule is cut", rule) == [(1, 4)]
    assert places("old a b c d rule cut", rule) == []


def test_one_word_may_have_two_concepts() -> None:
    assert places("both rule", Rule("r", "injection", 2, ("A", "B", "C"), 4)) == [(0, 1)]


def test_a_rule_is_found_at_most_three_times() -> None:
    assert len(places("cut old rule, " * 50, Rule("r", "injection", 2, ("A", "B", "C"), 4))) == MOST_EACH


def test_every_concept_is_used_and_every_need_has_words() -> None:
    needed = {need for rule in RULES for need in rule.needs}
    assert {name for language in LANGUAGES for name in language.WORDS} == needed


def test_rules_are_named_once_and_of_a_known_threat() -> None:
    assert len({rule.id for rule in RULES}) == len(RULES)
    assert {rule.threat for rule in RULES} | {mark.threat for mark in MARKS} == set(THREATS)
    assert {rule.strength for rule in RULES} == {1, 2, 3}


def test_the_lexicon_holds_single_words_only() -> None:
    words = lexicon.build(Folder().fold)
    tokens = Tokens(words)
    cut = {word: tokens.split(word) for word in words}
    assert {word: parts for word, parts in cut.items() if parts != [word]} == {}
