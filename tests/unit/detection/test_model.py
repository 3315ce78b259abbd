"""Integers all the way: the same number on every machine; and length that says nothing."""

from __future__ import annotations

import base64
import json
import zlib

import pytest

from portico.detection.features import WINDOW, grams, units, windows
from portico.detection.model import Model, Weights


def weights(table: list[int]) -> Weights:
    packed = base64.b64encode(zlib.compress(bytes(value & 255 for value in table))).decode()
    steps = list(range(0, 1001, 10))
    held = {"version": "t", "per_score": 1000, "per_evidence": [0, 500, 900, 1200, 1300, 1400], "bias": -100}
    return Weights.read(json.dumps({**held, "limit": 1000, "curve": steps, "table": packed}))


def test_weights_are_read_as_signed_bytes() -> None:
    assert weights([0, 1, 127, -1, -128, 5, 6, 7]).table == (0, 1, 127, -1, -128, 5, 6, 7)


def test_a_score_is_the_sum_of_its_units_over_the_root_of_their_number() -> None:
    model = Model(weights([64] * 16))
    sixteen = {f"a{number} b" for number in range(16)}
    assert model.score(sixteen) == 16 * 64 * 64 // 4
    assert model.score(set()) == 0


def test_confidence_is_a_table_of_thousandths() -> None:
    read = weights([0] * 8)
    assert [read.confidence(score, 0) for score in (-5000, 100, 5000)] == [0, 500, 1000]
    assert read.confidence(100, 1) == 750
    assert read.confidence(-37, 2) > read.confidence(-37, 1)


def test_the_shipped_weights_are_whole() -> None:
    shipped = Weights.load()
    assert len(shipped.table) == 65_536
    assert shipped.per_score > 0
    assert list(shipped.per_evidence) == sorted(shipped.per_evidence)
    assert list(shipped.curve) == sorted(shipped.curve)
    assert (shipped.curve[0], shipped.curve[-1]) == (0, 1000)


def test_a_text_said_twice_scores_as_said_once() -> None:
    model = Model(Weights.load())
    once = ["the", "museum", "opens", "at", "nine", "and", "the", "cafe", "serves", "soup"]
    assert abs(model.best(once * 40).score - model.best(once * 4).score) <= 1


def test_windows_cover_every_word() -> None:
    for count in (0, 1, WINDOW - 1, WINDOW, WINDOW + 1, 5 * WINDOW + 3):
        words = [f"w{number}" for number in range(count)]
        found = windows(words)
        assert {unit for _, _, held in found for unit in held if " " not in unit} == {
            f"w{number}" for number in range(count)
        }
        assert all(last - first <= WINDOW for first, last, _ in found)


def test_units_know_where_sentences_begin_and_end() -> None:
    plain, pairs = units(["stop", "!", "why", "42", "?"])
    assert plain == ["stop", ".", "why", "0", "?"]
    assert pairs == [". stop", "stop .", ". why", "why 0", "0 ?"]


def test_grams_are_the_same_for_ascii_and_other_words() -> None:
    assert len(grams("ab", 65_535)) == 1 + 2 + 1
    assert len(grams("äb", 65_535)) == 1 + 2 + 1
    assert len(grams("ab cd", 65_535)) == 1


@pytest.mark.parametrize("count", [0, 1, 15, 16, 17, 32, 33, 500])
def test_the_best_window_is_the_one_that_scores_most(count: int) -> None:
    words = [f"word{number * number % 41}" if number % 7 else "." for number in range(count)]
    model = Model(Weights.load())
    best = model.best(words)
    scored = [(model.score(distinct), first, last, distinct) for first, last, distinct in windows(words)]
    assert (best.score, best.first, best.last, best.units) == max(scored, key=lambda one: one[0])
