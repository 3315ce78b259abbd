"""Look-alike texts are made alike, and places lead back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portico.detection.folding import Folder


@pytest.mark.parametrize(
    ("text", "folded"),
    [
        ("Ignore ALL", "ignore all"),
        ("ig\u200bno\u00adre", "ignore"),
        ("ｉｇｎｏｒｅ", "ignore"),
        ("𝓲𝓰𝓷𝓸𝓻𝓮", "ignore"),
        ("🅘🅖🅝🅞🅡🅔", "ignore"),
        ("іgnоrе the rules", "ignore the rules"),
        ("ɪɢɴᴏʀᴇ", "ignore"),
        ("Ünïcödé ß", "unicode ss"),
        ("i̷g̷n̷o̷r̷e̷", "ignore"),
        ("все правила", "все правила"),
        ("забудь, что pаnее", "забудь, что panee"),
        ("first\u2028second", "first\nsecond"),
    ],
)
def test_folds(text: str, folded: str) -> None:
    assert Folder().fold(text) == folded


@given(st.text(max_size=60))
def test_places_lead_back_to_the_character_they_came_from(text: str) -> None:
    folder = Folder()
    folded = folder.fold(text)
    origins = folder.origins(text)
    places = [origins.of(at) for at in range(len(folded))]
    assert places == sorted(places)
    assert all(0 <= place < len(text) for place in places)


def test_a_place_behind_invisible_characters_is_that_of_the_text_given() -> None:
    folder = Folder()
    text = "\u200b\u200bx ignore"
    at = folder.fold(text).index("ignore")
    assert text[folder.origins(text).of(at) :] == "ignore"
