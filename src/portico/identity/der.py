"""A reader of DER (X.690), as far as certificates need it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

LONG: Final = 0x80
MULTI_BYTE_TAG: Final = 0x1F
MAX_LENGTH_BYTES: Final = 4


class DerError(ValueError):
    """The bytes are no DER."""


@dataclass(frozen=True, slots=True)
class Der:
    """One element: its tag's byte and its content."""

    tag: int
    content: bytes

    def children(self) -> list[Der]:
        """The elements that a constructed element is made of."""
        found = []
        at = 0
        while at < len(self.content):
            element, at = read(self.content, at)
            found.append(element)
        return found


def parse(data: bytes) -> Der:
    """The one element that `data` is; DerError when it is not exactly one."""
    element, end = read(data, 0)
    if end != len(data):
        raise DerError("there are bytes after the end")
    return element


def read(data: bytes, at: int) -> tuple[Der, int]:
    """The element at `at`, and where the next one begins."""
    if at + 2 > len(data):
        raise DerError("it ends too early")
    tag, length = data[at], data[at + 1]
    if tag & MULTI_BYTE_TAG == MULTI_BYTE_TAG:
        raise DerError("it has a tag of several bytes")
    begin = at + 2
    if length & LONG:
        count = length & ~LONG
        if not 0 < count <= MAX_LENGTH_BYTES:
            raise DerError("it has a length that DER does not have")
        length = int.from_bytes(data[begin : begin + count], "big")
        begin += count
    end = begin + length
    if end > len(data):
        raise DerError("it ends too early")
    return Der(tag, data[begin:end]), end


def object_identifier(content: bytes) -> str:
    """An OBJECT IDENTIFIER's content in dotted form (X.690 8.19)."""
    numbers = []
    value = 0
    for byte in content:
        value = value << 7 | byte & 0x7F
        if not byte & LONG:
            numbers.append(value)
            value = 0
    if not numbers:
        raise DerError("it has an empty object identifier")
    first = min(numbers[0] // 40, 2)
    return ".".join(str(number) for number in (first, numbers[0] - 40 * first, *numbers[1:]))
