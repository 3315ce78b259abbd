"""Reads what an answer says that it has cost, as it passes. Nothing of it is held back.

`usage` may stand anywhere in a JSON answer and in any event of a stream, and cut anywhere between two reads. So the
bytes are searched for the word as they come, and what follows it is kept until it is an object, at most LONGEST bytes
of it. The last one that has `total_tokens` counts: streams repeat it, and inside a JSON string its quotes would be
escaped, so that no text that a model writes is taken for it.
"""

from __future__ import annotations

import json
from typing import Final

from portico.edge.http1.fields import FieldReader

USAGE: Final = b'"usage"'
LONGEST: Final = 8192  # bytes of a usage object, and of the space before it
TRIED: Final = 16  # usage objects of one piece that are looked at, the last ones first
DIGITS: Final = 15  # of a cost; whatever is longer is no number that anyone has meant
SPACE: Final = b" \t\r\n"
UNTOLD: Final = -1
DECODER: Final = json.JSONDecoder()


class Tap:
    """What one exchange's answer has told so far."""

    def __init__(self) -> None:
        self.asked: dict[bytes, int] = {}  # the fields that are wanted (lower-case), and what they said
        self.counts = False  # tokens are wanted
        self.tokens = UNTOLD
        self._reads = False
        self._kept = b""

    def head(self, fields: FieldReader) -> None:
        """The head of the final answer has come."""
        for name in self.asked:
            self.asked[name] = number(fields.get(name))
        if self.counts:
            coding = fields.get(b"content-encoding")
            self._reads = coding is None or coding.lower() == b"identity"

    def feed(self, data: bytes) -> None:
        """A piece of the body has come."""
        if not self._reads:
            return
        data = self._kept + data
        end = len(data)
        cut = -1  # where the last object begins that may go on in the next piece
        at = data.rfind(USAGE)
        for _ in range(TRIED):
            if at < 0:
                break
            found = total(data[at + len(USAGE) : at + LONGEST])
            if found != UNTOLD:
                self.tokens = found
                break
            if cut < 0 and end - at < LONGEST:
                cut = at
            at = data.rfind(USAGE, 0, at)
        self._kept = data[cut:] if cut >= 0 else data[max(0, end - len(USAGE) + 1) :]


def total(text: bytes) -> int:
    """The `total_tokens` of the object that `text` begins with, after a colon; UNTOLD if it has none."""
    text = text.lstrip(SPACE)
    if text[:1] != b":":
        return UNTOLD
    text = text[1:].lstrip(SPACE)
    if text[:1] != b"{":
        return UNTOLD
    try:
        usage = DECODER.raw_decode(text.decode("utf-8", "replace"))[0]
    except (ValueError, RecursionError):
        return UNTOLD
    tokens = usage.get("total_tokens")
    if not isinstance(tokens, int) or isinstance(tokens, bool) or not 0 <= tokens < 10**DIGITS:
        return UNTOLD
    return tokens


def number(value: bytes | None) -> int:
    """A field's value as a whole number; UNTOLD if it is none."""
    return int(value) if value is not None and value.isdigit() and len(value) <= DIGITS else UNTOLD
