"""The field block of a head (RFC 9112 section 5), read strictly, and not read again where it stays the same.

Clients and upstreams repeat themselves on a kept-alive connection: a block is mostly the last one's bytes, or they
differ in a few values. After a whole reading, the lines that differ from the reading before become holes of a template:
fixed segments with a value between each two. A block fits when all segments are in their places and each value has only
allowed bytes; then its names, their number and order, and all other values are those that were read. Anything else is
read whole, so a template never decides that a block is wrong.
"""

from __future__ import annotations

from typing import Final

from portico.edge.http1.errors import HeadError
from portico.edge.http1.names import (
    CONNECTION,
    CRLF,
    KNOWN,
    LAST_OWN,
    LAST_REPLACED,
    SINGLE,
    VALUE,
    VALUES,
    Names,
    is_token,
    others,
)

BLOCKS: Final = others(VALUE + CRLF)
PLAIN_OPTIONS: Final[frozenset[bytes]] = frozenset((b"close", b"keep-alive", b"upgrade"))
OWS: Final = b" \t"


def stripped(value: bytes) -> bytes:
    """The value without the space or tab around it; one space before it, and none after, is how most come."""
    size = len(value)
    if size > 1 and value[0] == 0x20 and value[1] > 0x20 and value[size - 1] > 0x20:
        return value[1:]
    return value.strip(OWS)


class FieldReader:
    """The field blocks of one direction of one connection.

    `kept`: the lines to pass on verbatim, each preceded by CRLF. `known`: kind → stripped value, several joined with
    ", ". `options`: the connection options, lower-case. All three belong to the last block that was taken; after a
    HeadError they mean nothing. Read them, don't change them.
    """

    def __init__(self, names: Names, request: bool, max_fields: int = 100) -> None:
        self.names = names
        self.request = request
        self.max_fields = max_fields
        self.last_dropped = LAST_OWN if request else LAST_REPLACED
        self.kept = b""
        self.known: dict[int, bytes] = {}
        self.options: list[bytes] = []
        self.named: list[bytes] = []  # lower-case names that Connection declares to be hop-by-hop
        self.block = b""
        self.lower: bytes | None = None  # the block in lower case, made when `get` first needs it
        self.lines: list[bytes] = []  # of the last whole reading
        self.holes: set[int] = set()  # numbers of the lines that changed between whole readings
        self.segments: list[bytes] = []
        self.kept_segments: list[bytes] = []
        self.hole_kinds: list[int] = []
        self.length = -1  # of the block that was last taken by the template; -1: none was
        self.starts: list[int] = []  # where its values began and ended
        self.ends: list[int] = []

    def take(self, block: bytes) -> None:
        """Read `block`: empty, or lines each preceded by CRLF, without the empty line that ends a head.

        Raises HeadError: 400, or 431 for too many fields; 502 for both when this reads responses.
        """
        if block == self.block:
            return
        if not self.segments or not self._fill(block):
            self._read(block)
        self.lower = None
        self.block = block

    def get(self, name: bytes) -> bytes | None:
        """The value of the field `name` (lower-case), several joined with ", ", or None."""
        kind = KNOWN.get(name, 0)
        if kind:
            return self.known.get(kind)
        if name in self.named:
            return None
        block = self.block
        lower = self.lower
        if lower is None:
            lower = self.lower = block.lower()
        mark = CRLF + name + b":"
        at = lower.find(mark)
        if at < 0:
            return None
        values: list[bytes] = []
        while at >= 0:
            start = at + len(mark)
            at = block.find(CRLF, start)
            values.append((block[start:at] if at >= 0 else block[start:]).strip(OWS))
            if at >= 0:
                at = lower.find(mark, at)
        return b", ".join(values)

    def _fill(self, block: bytes) -> bool:
        """Take the block by the template; False, and nothing changed, when it doesn't fit."""
        values = self._same_places(block) if len(block) == self.length else []
        if not values:
            values = self._search(block)
        if not values:
            return False
        kept_segments = self.kept_segments
        parts = [kept_segments[0]]
        for i in range(len(values)):
            kind = self.hole_kinds[i]
            if kind:
                self.known[kind] = stripped(values[i])
            if kind == 0 or kind > self.last_dropped:
                parts.append(values[i])
            parts.append(kept_segments[i + 1])
        self.kept = b"".join(parts)
        return True

    def _same_places(self, block: bytes) -> list[bytes]:
        """The values of a block in which each is as long as in the last one; empty when the block doesn't fit."""
        segments = self.segments
        values: list[bytes] = []
        at = 0
        for i in range(len(self.starts)):
            start = self.starts[i]
            end = self.ends[i]
            if block[at:start] != segments[i]:
                return []
            value = block[start:end]
            if value.translate(VALUES) != value:
                return []
            values.append(value)
            at = end
        return values if block[at:] == segments[len(values)] else []

    def _search(self, block: bytes) -> list[bytes]:
        """The values of a block, and where they are; empty when it doesn't fit."""
        segments = self.segments
        if not block.startswith(segments[0]):
            return []
        at = len(segments[0])
        values: list[bytes] = []
        starts: list[int] = []
        ends: list[int] = []
        for i in range(1, len(segments)):
            segment = segments[i]
            end = block.find(CRLF, at)
            if end < 0:
                end = len(block)
            value = block[at:end]
            if value.translate(VALUES) != value or not block.startswith(segment, end):
                return []
            values.append(value)
            starts.append(at)
            ends.append(end)
            at = end + len(segment)
        if at != len(block):
            return []
        self.starts = starts
        self.ends = ends
        self.length = at
        return values

    def _read(self, block: bytes) -> None:
        """Read the whole block."""
        self._forget()
        lines = self._split(block)
        known: dict[int, bytes] = {}
        kinds: list[int] = [0]
        kept: list[bytes] = [b""]
        kind_of = self.names.kinds
        last_dropped = self.last_dropped
        for i in range(1, len(lines)):
            line = lines[i]
            colon = line.find(b":")
            raw = line[:colon] if colon > 0 else b""
            kind = kind_of.get(raw, -1)
            if kind < 0:
                kind = self._learn(raw, line)
            if kind:
                value = line[colon + 1 :].strip(OWS)
                if kind in known:
                    value = self._join(kind, known[kind], value)
                known[kind] = value
            if kind == 0 or kind > last_dropped:
                kept.append(line)
            kinds.append(kind)
        self._read_options(known.get(CONNECTION))
        self.kept = CRLF.join(kept)
        self.known = known
        if self.named:
            self._drop_named(lines, kinds)
        self._make_template(lines, kinds)

    def _forget(self) -> None:
        """Become what an empty block makes: an error must leave nothing behind that a later block could match."""
        self.block = b""
        self.lower = None
        self.kept = b""
        self.known = {}
        self.options = []
        self.named = []
        self.segments = []

    def _split(self, block: bytes) -> list[bytes]:
        """The lines of the block, after an empty one; every byte and every line end checked."""
        lines = block.split(CRLF)
        ends = len(lines) - 1
        if block.translate(BLOCKS) != block or block.count(b"\r") != ends or block.count(b"\n") != ends or lines[0]:
            raise self._error(400, "bad_field", "A header field has a control character or a bare CR or LF in it.")
        if ends > self.max_fields:
            raise self._error(431, "too_many_fields", f"The head has more than {self.max_fields} fields.")
        return lines

    def _learn(self, raw: bytes, line: bytes) -> int:
        kind = self.names.learn(raw)
        if kind >= 0:
            return kind
        if line[:1] in (b" ", b"\t"):
            raise self._error(400, "bad_field", "A header field is folded over several lines.")
        raise self._error(400, "bad_field", "A header field line must begin with a token and a colon.")

    def _join(self, kind: int, before: bytes, value: bytes) -> bytes:
        if kind in SINGLE:
            raise self._error(400, "duplicate_field", "A header field that may come only once came twice.")
        return before + b", " + value

    def _read_options(self, connection: bytes | None) -> None:
        """Take the Connection field apart (RFC 9110 section 7.6.1)."""
        if connection is None:
            return
        options: list[bytes] = []
        named: list[bytes] = []
        for part in connection.lower().split(b","):
            option = part.strip(OWS)
            if not option:
                continue
            if not is_token(option):
                raise self._error(400, "bad_field", "An option in the Connection field isn't a token.")
            options.append(option)
            if option not in PLAIN_OPTIONS:
                named.append(option)
        self.options = options
        self.named = named

    def _drop_named(self, lines: list[bytes], kinds: list[int]) -> None:
        """Take out what Connection names. What the edge reads for itself (Host, framing, credentials) stays known."""
        kept: list[bytes] = [b""]
        for i in range(1, len(lines)):
            kind = kinds[i]
            if 0 < kind <= self.last_dropped:
                continue
            line = lines[i]
            if line[: line.find(b":")].lower() not in self.named:
                kept.append(line)
            elif kind in self.known:
                del self.known[kind]
        self.kept = CRLF.join(kept)

    def _make_template(self, lines: list[bytes], kinds: list[int]) -> None:
        """Note which lines changed since the last whole reading, and cut the block there."""
        before = self.lines
        holes = self.holes
        self.lines = lines
        if len(before) != len(lines):
            holes.clear()
            return
        for i in range(1, len(lines)):
            if lines[i] != before[i]:
                holes.add(i)
        if holes and not self.named:
            self._cut(lines, kinds)

    def _cut(self, lines: list[bytes], kinds: list[int]) -> None:
        """Cut at the holes, but not at Connection, nor at a known field that comes twice: `known` has it joined."""
        segments: list[bytes] = []
        kept_segments: list[bytes] = []
        hole_kinds: list[int] = []
        segment: list[bytes] = [b""]
        kept: list[bytes] = [b""]
        for i in range(1, len(lines)):
            line = lines[i]
            kind = kinds[i]
            hole = i in self.holes and kind != CONNECTION and (kind == 0 or kinds.count(kind) == 1)
            if hole:
                line = line[: line.find(b":") + 1]
            segment.append(line)
            if kind == 0 or kind > self.last_dropped:
                kept.append(line)
            if hole:
                segments.append(CRLF.join(segment))
                kept_segments.append(CRLF.join(kept))
                hole_kinds.append(kind)
                segment = [b""]
                kept = [b""]
        segments.append(CRLF.join(segment))
        kept_segments.append(CRLF.join(kept))
        self.segments = segments
        self.kept_segments = kept_segments
        self.hole_kinds = hole_kinds
        self.length = -1

    def _error(self, status: int, code: str, detail: str) -> HeadError:
        return HeadError(status if self.request else 502, code, detail)
