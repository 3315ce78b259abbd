"""Which texts are judged at all: 1 to 10,000 characters, and text rather than binary data."""

from __future__ import annotations

import re
from typing import Final

MAX_CHARACTERS: Final = 10_000

# Control characters (Unicode category Cc) but tab, LF and CR; and surrogates, which are no characters at all.
_UNFIT: Final = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f\ud800-\udfff]")


class UnfitText(ValueError):
    """A text that is not judged. `position` is the character at fault, counted from 0, or None for a wrong length."""

    def __init__(self, message: str, position: int | None = None) -> None:
        super().__init__(message)
        self.position = position


def check_text(text: str, most: int = MAX_CHARACTERS) -> None:
    """Raise `UnfitText` unless `text` has 1 to `most` characters and no control character but tab, CR and LF.

    Letters of every script, emoji and line breaks are text. A lone surrogate (half of a pair, as `"\\ud800"` in JSON)
    is none, for it can't be written as UTF-8.
    """
    if not text:
        raise UnfitText("The text is empty.")
    if len(text) > most:
        raise UnfitText(f"The text has {len(text)} characters; at most {most} are judged.")
    unfit = _UNFIT.search(text)
    if unfit:
        at = unfit.start()
        raise UnfitText(f"{_name(text[at])} at position {at}: this is not text.", at)


def _name(character: str) -> str:
    code = ord(character)
    if code == 0:
        return "NUL"
    if 0xD800 <= code <= 0xDFFF:
        return f"Lone surrogate U+{code:04X}"
    return f"Control character U+{code:04X}"
