"""Undoes what hides a text: parts in base64, hex or binary; whole texts in rot13, leetspeak, reversed, spaced out, or
with URL, HTML and escape codes. What comes out is looked at like the text itself, and decoded once more.

Bounds: two layers, twelve decoded texts, 20,000 decoded characters in all.
"""

from __future__ import annotations

import base64
import binascii
import codecs
import html
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from typing import Final
from urllib.parse import unquote

LAYERS: Final = 2
MOST_VIEWS: Final = 12
MOST_CHARACTERS: Final = 20_000
LEAST_LETTERS: Final = 6  # fewer decoded characters say nothing

_BASE64: Final = re.compile(r"(?<![\w+/-])[A-Za-z0-9+/_-]{16,}(?:\r?\n[A-Za-z0-9+/_-]{4,})*={0,2}")
_HEX: Final = re.compile(r"(?<!\w)(?:(?:0x|\\x)?[0-9a-fA-F]{2}[ :,]?){8,}")
_BINARY: Final = re.compile(r"(?<!\w)(?:[01]{8} ?){6,}")
_TAGS: Final = re.compile("[\U000e0020-\U000e007e]{6,}")
_SPACED: Final = re.compile(r"(?<!\w)(?:[^\W\d_][ .\-*]{1,2}){5,}[^\W\d_](?!\w)")
_URL: Final = re.compile(r"%[0-9a-fA-F]{2}")
_HTML: Final = re.compile(r"&(?:#\d{1,7}|#[xX][0-9a-fA-F]{1,6}|[a-zA-Z]{2,8});")
_ESCAPE: Final = re.compile(r"\\u([0-9a-fA-F]{4})")
_LEAST_CODES: Final = 3
_SIX_SINGLE: Final = b"\1" * 6  # words of one letter in a row, by their lengths
_LEET: Final = str.maketrans("013457@$!|", "oieastasii")
_LEET_WORD: Final = re.compile(r"[\w@$](?:[\w@$!|]*[\w@$])?")


# Its name, what it looks like, what undoes it, and between which characters to look.
Part = tuple[str, re.Pattern[str], Callable[[str], str | None], int, int]


@dataclass(frozen=True, slots=True)
class View:
    """A text that came out of `text[start:end]` of the text given; `via` tells how, outermost first."""

    text: str
    start: int
    end: int
    via: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Known:
    """What the lexicon's words look like when hidden: a whole text is undone only where such words occur."""

    plain: frozenset[str]
    rot13: frozenset[str]
    reversed: frozenset[str]

    @staticmethod
    def of(words: Iterable[str]) -> Known:
        """For the words with five letters and more."""
        plain = frozenset(word for word in words if len(word) > 4 and word.isascii())
        return Known(
            plain,
            frozenset(codecs.encode(word, "rot13") for word in plain) - plain,
            frozenset(word[::-1] for word in plain) - plain,
        )


def views(text: str, words: list[str], known: Known, split: Callable[[str], list[str]]) -> Iterator[View]:
    """The texts hidden in `text`, whose words are `words`; `split` cuts decoded ones, for the second layer."""
    left = MOST_CHARACTERS
    given = 0
    layer = [View(text, 0, len(text), ())]
    for depth in range(LAYERS):
        deeper: list[View] = []
        for outer in layer:
            for view in _one_layer(outer, split(outer.text) if depth else words, known):
                left -= len(view.text)
                given += 1
                if left < 0 or given > MOST_VIEWS:
                    return
                yield view
                deeper.append(view)
        layer = deeper


def _one_layer(outer: View, words: list[str], known: Known) -> Iterator[View]:
    text = outer.text
    for name, pattern, decode, first, last in _parts(text, words):
        for found in pattern.finditer(text, first, last):
            decoded = decode(found[0])
            if decoded and len(decoded) >= LEAST_LETTERS and decoded != found[0]:
                place = (outer.start, outer.end) if outer.via else found.span()
                yield View(decoded, *place, (*outer.via, name))
    for name, decoded in _whole(text, frozenset(words), known):
        yield View(decoded, outer.start, outer.end, (*outer.via, name))


def _parts(text: str, words: list[str]) -> Iterator[Part]:
    """The encodings that may occur, by what is quick to see: most texts have none."""
    long = [chunk for chunk in text.split() if len(chunk) >= 16]
    if long:
        yield ("base64", _BASE64, _base64, text.index(long[0]), text.rindex(long[-1]) + len(long[-1]))
    if text.count("6") + text.count("7") >= 6:
        yield ("hex", _HEX, _hex, 0, len(text))
    if text.count("0") + text.count("1") >= 48:
        yield ("binary", _BINARY, _binary, 0, len(text))
    if not text.isascii():
        yield ("tags", _TAGS, _tags, 0, len(text))
    if _SIX_SINGLE in bytes(map(len, words)):
        yield ("spaced", _SPACED, _spaced, 0, len(text))


def _whole(text: str, words: frozenset[str], known: Known) -> Iterator[tuple[str, str]]:
    if len(words & known.rot13) > 1:
        yield "rot13", codecs.encode(text, "rot13")
    if len(words & known.reversed) > 1:
        yield "reversed", text[::-1]
    if text.count("%") >= _LEAST_CODES and len(_URL.findall(text)) >= _LEAST_CODES:
        yield "url", unquote(text)
    if text.count("&") >= _LEAST_CODES and len(_HTML.findall(text)) >= _LEAST_CODES:
        yield "html", html.unescape(text)
    if text.count("\\u") >= _LEAST_CODES and len(_ESCAPE.findall(text)) >= _LEAST_CODES:
        yield "escapes", _ESCAPE.sub(_escape, text)
    if any(mark in text for mark in "013457@$") and _has_leet(text, known.plain):
        yield "leetspeak", _LEET_WORD.sub(_undone, text)


def _has_leet(text: str, plain: frozenset[str]) -> bool:
    """Whether a word of `plain` occurs in leetspeak: all are undone at once, and only those that fit are looked at."""
    found = _LEET_WORD.findall(" ".join([chunk for chunk in set(text.lower().split()) if not chunk.isalpha()]))
    undone = " ".join(found).translate(_LEET).split(" ")
    fit = plain.intersection(undone)
    if not fit:
        return False
    return any(
        one in fit and not word.isalpha() and _unleet(word) == one for word, one in zip(found, undone, strict=True)
    )


def _undone(found: re.Match[str]) -> str:
    return _unleet(found[0])


def _unleet(word: str) -> str:
    if word.isalpha() or word.isdigit():
        return word
    letters = sum(1 for character in word if character.isalpha())
    return word.translate(_LEET) if letters > 1 and letters * 3 >= len(word) else word


def _escape(found: re.Match[str]) -> str:
    code = int(found[1], 16)
    return " " if 0xD800 <= code <= 0xDFFF else chr(code)


def _text(raw: bytes) -> str | None:
    """`raw` as text, unless it is none: not UTF-8, or hardly a letter in it."""
    try:
        decoded = raw.decode()
    except UnicodeDecodeError:
        return None
    letters = sum(1 for character in decoded if character.isalpha() or character.isspace())
    return decoded if letters * 4 >= len(decoded) * 3 else None


def _base64(found: str) -> str | None:
    plain = re.sub(r"\s", "", found).rstrip("=").replace("-", "+").replace("_", "/")
    plain = plain[: len(plain) - (len(plain) % 4 == 1)]
    try:
        return _text(base64.b64decode(plain + "=" * (-len(plain) % 4)))
    except binascii.Error:
        return None


def _hex(found: str) -> str | None:
    digits = re.sub(r"0x|\\x|[ :,]", "", found)
    return _text(bytes.fromhex(digits[: len(digits) - len(digits) % 2]))


def _binary(found: str) -> str | None:
    digits = found.replace(" ", "")
    return _text(int(digits, 2).to_bytes(len(digits) // 8, "big"))


def _tags(found: str) -> str:
    return "".join(chr(ord(character) - 0xE0000) for character in found)


def _spaced(found: str) -> str:
    wide = re.sub(r"[ .\-_*]{2}", "\n", found)
    return re.sub(r"[ .\-_*]", "", wide).replace("\n", " ")
