"""The answer to a call, and how its body is read without letting it grow."""

from __future__ import annotations

import zlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Final

from portico.errors import OutboundMalformed, OutboundTooLarge

ACCEPTED: Final = "gzip, deflate"
GZIP: Final = 16 + zlib.MAX_WBITS
EITHER: Final = {"gzip": GZIP, "x-gzip": GZIP, "deflate": zlib.MAX_WBITS}


@dataclass(frozen=True, slots=True)
class Answer:
    """Status, head and whole body; `url` is where it came from, after redirects. Codings are undone."""

    status: int
    headers: tuple[tuple[str, str], ...]  # names in lower case
    body: bytes
    url: str

    def header(self, name: str) -> str:
        """The first field of that name; empty when there is none."""
        wanted = name.lower()
        return next((value for each, value in self.headers if each == wanted), "")


class Decoder:
    """Undoes one content coding piece by piece, and stops as soon as more than `most` bytes come out.

    With `cut` it only gives `most` bytes, and is then `full`.
    """

    def __init__(self, coding: str, most: int, cut: bool = False) -> None:
        self.full = False
        self._most = most
        self._cut = cut
        self._size = 0
        self._inflate = None
        name = coding.strip().lower()
        if name in ("", "identity"):
            return
        if name not in EITHER:
            raise OutboundMalformed("the answer has a content coding that was not asked for")
        self._inflate = zlib.decompressobj(EITHER[name])

    def feed(self, piece: bytes) -> bytes:
        """What comes out of the next piece."""
        if self._inflate is not None:
            room = self._most - self._size
            try:
                piece = self._inflate.decompress(piece, room + 1)
            except zlib.error:
                raise OutboundMalformed("the answer's content coding is damaged") from None
        left = self._most - self._size
        self._size += len(piece)
        if self._size <= self._most:
            return piece
        if not self._cut:
            raise OutboundTooLarge(f"the answer is larger than {self._most} bytes")
        self.full = True
        return piece[:left]

    def finish(self) -> None:
        """The last piece has come; OutboundMalformed when it was not the end."""
        if self._inflate is not None and self._size and not self._inflate.eof:
            raise OutboundMalformed("the answer's content coding breaks off")


async def read(pieces: AsyncIterator[bytes], coding: str, most: int, cut: bool = False) -> bytes:
    """The whole body, at most `most` bytes of it as it comes and as many decoded; else OutboundTooLarge.

    With `cut` the first `most` bytes of a larger one.
    """
    decoder = Decoder(coding, most, cut)
    parts: list[bytes] = []
    raw = 0
    async for piece in pieces:
        raw += len(piece)
        if raw > most and not cut:
            raise OutboundTooLarge(f"the answer is larger than {most} bytes")
        parts.append(decoder.feed(piece))
        if decoder.full or raw > most:
            return b"".join(parts)
    decoder.finish()
    return b"".join(parts)
