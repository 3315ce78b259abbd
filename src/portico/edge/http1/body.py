"""Message bodies by length, in chunks or until close (RFC 9112 sections 6 and 7)."""

from __future__ import annotations

from typing import Final

from portico.edge.http1.errors import HeadError
from portico.edge.http1.names import CRLF, VALUES, is_token
from portico.edge.http1.target import HEX

CHUNKED: Final = -1
UNTIL_CLOSE: Final = -2
NO_BODY: Final = -3

LAST_CHUNK: Final = b"0\r\n\r\n"
LONGEST_SIZE_LINE: Final = 256
MOST_SIZE_DIGITS: Final = 16
LARGEST_CHUNK: Final = 1 << 62
LONGEST_TRAILERS: Final = 8 * 1024

PLAIN: Final = 0  # by length or until close
SIZE: Final = 1
DATA: Final = 2
DATA_END: Final = 3
TRAILERS: Final = 4


def chunk(data: bytes) -> bytes:
    """`data` as one chunk; nothing for no data, since an empty chunk would end the body."""
    if not data:
        return b""
    return b"%x\r\n%b\r\n" % (len(data), data)


class BodyReader:
    """Takes a body out of what a connection receives.

    `done` says that the body is complete; `rest` is what came after its end (the next message, or nothing anyone asked
    for). A body until close is never done by itself. Chunk extensions and trailers are checked and dropped.
    """

    def __init__(self) -> None:
        self.done = True
        self.rest = b""
        self.state = PLAIN
        self.left = 0  # bytes of the body, or of the chunk; -2 when the body goes on until the connection closes
        self.held = b""  # the beginning of a line whose end hasn't come
        self.trailers = 0  # bytes of trailers so far

    def start(self, length: int) -> None:
        """Expect a body of `length` bytes, or CHUNKED, UNTIL_CLOSE or NO_BODY."""
        self.rest = b""
        self.held = b""
        self.trailers = 0
        self.state = SIZE if length == CHUNKED else PLAIN
        self.left = 0 if length in (CHUNKED, NO_BODY) else length
        self.done = self.state == PLAIN and self.left == 0

    def feed(self, data: bytes) -> bytes:
        """The payload in `data`. Raises HeadError(400, "bad_chunk")."""
        if self.done:
            self.rest += data
            return b""
        if self.state != PLAIN:
            return self._feed_chunked(data)
        left = self.left
        size = len(data)
        if left < 0:
            return data
        if size < left:
            self.left = left - size
            return data
        self.left = 0
        self.done = True
        if size == left:
            return data
        self.rest = data[left:]
        return data[:left]

    def _feed_chunked(self, data: bytes) -> bytes:
        if self.held:
            data = self.held + data
            self.held = b""
        pieces: list[bytes] = []
        at = 0
        size = len(data)
        while at < size and not self.done:
            if self.state == DATA:
                end = at + self.left
                if end > size:
                    end = size
                pieces.append(data[at:end])
                self.left -= end - at
                at = end
                if self.left == 0:
                    self.state = DATA_END
            else:
                at = self._take_line(data, at)
                if at < 0:
                    return b"".join(pieces)
        if self.done:
            self.rest = data[at:]
        return b"".join(pieces)

    def _take_line(self, data: bytes, at: int) -> int:
        """Take the line at `at`; where the next one begins, or -1 when its end hasn't come and it is held."""
        limit = self._limit()
        end = data.find(CRLF, at, at + limit + 2)
        if end < 0:
            line = data[at:]
            text = line[:-1] if line[-1:] == b"\r" else line
            if len(text) > limit or text.translate(VALUES) != text:
                raise self._error(limit, len(text))
            self.held = line
            return -1
        line = data[at:end]
        if self.state == SIZE:
            self._take_size(line)
        elif self.state == DATA_END:
            self.state = SIZE
        else:
            self._take_trailer(line)
        return end + 2

    def _limit(self) -> int:
        """How many bytes the line may have without its CRLF."""
        if self.state == SIZE:
            return LONGEST_SIZE_LINE
        if self.state == DATA_END:
            return 0
        return LONGEST_TRAILERS - self.trailers

    def _take_size(self, line: bytes) -> None:
        digits = len(line) - len(line.lstrip(HEX))
        extension = line[digits:].lstrip(b" \t")
        good = 0 < digits <= MOST_SIZE_DIGITS and line.translate(VALUES) == line
        if good and digits < len(line):
            good = extension[:1] == b";"
        size = int(line[:digits], 16) if good else LARGEST_CHUNK
        if size >= LARGEST_CHUNK:
            raise HeadError(400, "bad_chunk", "A chunk must begin with its size in hex digits.")
        self.left = size
        self.state = DATA if size else TRAILERS

    def _take_trailer(self, line: bytes) -> None:
        if not line:
            self.done = True
            return
        self.trailers += len(line) + 2
        if not is_token(line[: max(line.find(b":"), 0)]) or line.translate(VALUES) != line:
            raise HeadError(400, "bad_chunk", "A trailer line isn't a header field.")

    def _error(self, limit: int, length: int) -> HeadError:
        if self.state == DATA_END:
            return HeadError(400, "bad_chunk", "A chunk is longer than it says.")
        if length > limit:
            return HeadError(400, "bad_chunk", "A chunk size line or the trailers are too long.")
        return HeadError(400, "bad_chunk", "A chunk size or trailer line has a control character in it.")
