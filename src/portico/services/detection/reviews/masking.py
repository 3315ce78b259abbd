"""What may name a person or open a door is masked in a text; words, and what is encoded in it, stay.

The order counts: what is found first is not looked at again. It is for texts of people, and misses what is written to
be missed.
"""

from __future__ import annotations

import re
from typing import Final

_H: Final = "[0-9A-Fa-f]{1,4}"
_KINDS: Final = (
    ("secret", r"\b(?:pk_|sk-|sk_|ghp_|gho_|github_pat_|xox[abprs]-|AKIA|AIza|glpat-|whsec_)[A-Za-z0-9_\-+/=]{8,}"),
    ("secret", r"\beyJ[A-Za-z0-9_\-]{8,}\.[A-Za-z0-9_\-]{8,}\.[A-Za-z0-9_\-]*"),
    ("secret", r"(?<=://)[^/\s@:]{1,256}:[^/\s@]{1,256}(?=@)"),
    ("email", r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~\-]{1,64}@[A-Za-z0-9](?:[A-Za-z0-9.\-]{0,250}[A-Za-z0-9])?"),
    ("address", r"(?<![\d.])\d{1,3}(?:\.\d{1,3}){3}(?![\d.]\d)"),
    ("address", rf"(?<![\w:])(?:{_H}:){{7}}{_H}(?![\w:])"),
    ("address", rf"(?<![\w:]){_H}(?::{_H}){{0,6}}::(?:{_H}(?::{_H}){{0,6}})?(?![\w:])"),
    ("number", r"\b[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){3,7}(?: ?[A-Z0-9]{1,3})?\b"),
    ("number", r"(?<![\w])\+?\(?\d(?:[ ()/.\-]{0,2}\d){5,18}(?![\w])"),
)
_ALL: Final = re.compile("|".join(f"({expression})" for _, expression in _KINDS))


def masked(text: str) -> str:
    """`text` with `[email]`, `[address]` (of the Internet), `[number]` (from six digits on) and `[secret]` in place."""
    return _ALL.sub(lambda match: f"[{_KINDS[(match.lastindex or 1) - 1][0]}]", text)
