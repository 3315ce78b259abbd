"""Which texts are judged at all."""

from __future__ import annotations

import pytest

from portico.detection import MAX_CHARACTERS, UnfitText, check_text


@pytest.mark.parametrize(
    "text", ["a", "tab\tline\r\nend", "日本語 🎉 नमस्ते", "a" * MAX_CHARACTERS, "\u200bzero width", "é\u0301"]
)
def test_text_of_every_script_passes(text: str) -> None:
    check_text(text)


@pytest.mark.parametrize(
    ("text", "position", "name"),
    [
        ("ab\0c", 2, "NUL"),
        ("\x07", 0, "U+0007"),
        ("abc\x7f", 3, "U+007F"),
        ("a\x85", 1, "U+0085"),
        ("half \ud83d of a pair", 5, "surrogate"),
        ("\x1b[31m", 0, "U+001B"),
    ],
)
def test_what_is_no_text_is_refused_with_its_place(text: str, position: int, name: str) -> None:
    with pytest.raises(UnfitText, match=name.replace("+", r"\+")) as refused:
        check_text(text)
    assert refused.value.position == position
    assert f"position {position}" in str(refused.value)


@pytest.mark.parametrize("text", ["", "a" * (MAX_CHARACTERS + 1)])
def test_a_wrong_length_is_refused(text: str) -> None:
    with pytest.raises(UnfitText) as refused:
        check_text(text)
    assert refused.value.position is None
