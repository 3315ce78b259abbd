"""Changes to the header fields of a message on its way through."""

from __future__ import annotations

from typing import Final

CRLF: Final = b"\r\n"


class Edit:
    """What a route does to raw field lines, each `CRLF Name: value`; names are compared without regard to case.

    `remove` drops every line of a name, `set` replaces every line of a name by one, `add` appends a line and leaves the
    others. Names and values are trusted to be valid field names and values.
    """

    def __init__(self, set: dict[str, str], add: dict[str, str], remove: list[str]) -> None:  # noqa: A002
        self.dropped = {name.lower().encode() for name in [*set, *remove]}
        self.marks = [CRLF + name + b":" for name in sorted(self.dropped)]
        self.added = b"".join([_line(name, value) for name, value in [*set.items(), *add.items()]])
        self.first: Edit | None = None
        self.joined: Edit | None = None

    def apply(self, lines: bytes) -> bytes:
        """The lines as edited."""
        if self.first is not None:
            lines = self.first.apply(lines)
        if self.marks:
            lower = lines.lower()
            for mark in self.marks:
                if mark in lower:
                    lines = self._without(lines)
                    break
        return lines + self.added

    def after(self, first: Edit | None) -> Edit:
        """This edit behind `first`; the last such pair is remembered, for a route asks for the same one each time."""
        if first is None:
            return self
        joined = self.joined
        if joined is None or joined.first is not first:
            joined = Edit({}, {}, [])
            joined.dropped = self.dropped
            joined.marks = self.marks
            joined.added = self.added
            joined.first = first
            self.joined = joined
        return joined

    def _without(self, lines: bytes) -> bytes:
        kept = [b""]
        for line in lines.split(CRLF):
            if line and line[: line.find(b":")].lower() not in self.dropped:
                kept.append(line)
        return CRLF.join(kept)


def _line(name: str, value: str) -> bytes:
    return CRLF + name.encode() + b": " + value.encode()
