"""Makes look-alike texts alike: one case, no accents, no invisible characters, Latin letters for their doubles."""

from __future__ import annotations

import re
import unicodedata
from bisect import bisect_right
from itertools import accumulate
from typing import Final

# Letters of other scripts that are read as Latin ones: the commonest of Unicode's confusables.txt.
_DOUBLES: Final = str.maketrans(
    "авеѕкмнорстухіјԁԛԝһүӏгп" + "αβεηικνορτυχγωѵ",
    "abeskmhopctyxijdqwhylrn" + "abenikvoptuxywv",
)
_SMALL: Final = dict(zip("ᴀʙᴄᴅᴇꜰɢʜɪᴊᴋʟᴍɴᴏᴘʀꜱᴛᴜᴠᴡʏᴢıɑɡ", "abcdefghijklmnoprstuvwyziag", strict=True))
_LATIN: Final = re.compile("[a-z]")
_FOREIGN: Final = re.compile("[α-ωа-џԁԛԝһүӏѵ]")
_WORD: Final = re.compile(r"[^\W_]+")
_SQUARED: Final = ((0x1F150, 26), (0x1F170, 26), (0x1F1E6, 26))  # white on black letters, and those that make flags


class Folds(dict[int, str]):
    """For each character its folded form, worked out when first met. Bounded by Unicode itself."""

    def __missing__(self, code: int) -> str:
        folded = self[code] = _fold(code)
        return folded


def _fold(code: int) -> str:
    for first, count in _SQUARED:
        if first <= code < first + count:
            return chr(ord("a") + code - first)
    character = chr(code)
    if character in _SMALL:
        return _SMALL[character]
    kind = unicodedata.category(character)
    if character in "\t\r\n":
        return character
    if kind in ("Cf", "Mn", "Me", "Cc"):
        return ""
    if kind.startswith("Z"):
        return "\n" if kind in ("Zl", "Zp") else " "
    parts = unicodedata.normalize("NFKD", character).casefold()
    return "".join(part for part in parts if unicodedata.category(part) not in ("Mn", "Me", "Cf"))


class Folder:
    """Folds texts, and finds the place of a folded character in the text it came from."""

    def __init__(self) -> None:
        self._folds = Folds()

    def fold(self, text: str) -> str:
        """`text` for comparing: NFKD without accents and case, nothing invisible, doubles as Latin letters.

        Doubles are replaced in words that mix scripts, and in a mostly Latin text also in words made of doubles only;
        Russian and Greek stay what they are. Takes time in proportion to the length.
        """
        if text.isascii():
            return text.lower()
        folded = text.translate(self._folds)
        foreign = len(_FOREIGN.findall(folded))
        if not foreign:
            return folded
        mostly_latin = len(_LATIN.findall(folded)) >= foreign
        return _WORD.sub(_latin_where_all_double if mostly_latin else _latin_where_mixed, folded)

    def origins(self, text: str) -> Origins:
        """The way back from `fold(text)` to `text`."""
        uneven = [letter for letter in set(text) if len(self._folds[ord(letter)]) != 1]
        if text.isascii() or not uneven:
            return Origins(None)
        return Origins(list(accumulate(map(len, map(self._folds.__getitem__, map(ord, text))))))


class Origins:
    """Finds where a folded character came from. `ends` says for each character of the text where its folded form ends,
    or is None when both are of one length throughout."""

    def __init__(self, ends: list[int] | None) -> None:
        self._ends = ends

    def of(self, at: int) -> int:
        """The index in the text of what became character `at` of its folded form."""
        return at if self._ends is None else bisect_right(self._ends, at)


def _latin_where_mixed(word: re.Match[str]) -> str:
    whole = word[0]
    return whole.translate(_DOUBLES) if _LATIN.search(whole) and not whole.isascii() else whole


def _latin_where_all_double(word: re.Match[str]) -> str:
    whole = word[0]
    if whole.isascii():
        return whole
    latin = whole.translate(_DOUBLES)
    return latin if latin.isascii() or _LATIN.search(whole) else whole
