"""W3C Trace Context: the fields traceparent and tracestate, read strictly (https://www.w3.org/TR/trace-context/)."""

from __future__ import annotations

import re
from typing import Final

HEX: Final = b"0123456789abcdef"
DASH: Final = 0x2D
SIZE: Final = 55  # characters of version 00
NO_TRACE: Final = b"0" * 32
NO_SPAN: Final = b"0" * 16
LARGEST: Final = 4096  # bytes of a tracestate; 512 must be passed on (section 3.3.1.5)
MEMBERS: Final = 32
MEMBER: Final = re.compile(
    rb"((?:[a-z][a-z0-9_\-*/]{0,255})|(?:[a-z0-9][a-z0-9_\-*/]{0,240}@[a-z][a-z0-9_\-*/]{0,13}))"
    rb"=[ -+\--<>-~]{0,255}[!-+\--<>-~]"
)


class Parent:
    """Whose child a request is: ids in lower-case hexadecimal, 32 and 16 digits."""

    def __init__(self, trace_id: bytes, span_id: bytes, sampled: bool) -> None:
        self.trace_id = trace_id
        self.span_id = span_id
        self.sampled = sampled


def parse(value: bytes) -> Parent | None:
    """What a traceparent says (section 3.2); None when it is not valid. Of a later version the known part is read."""
    size = len(value)
    if size < SIZE or value[2] != DASH or value[35] != DASH or value[52] != DASH:
        return None
    version = value[:2]
    trace_id = value[3:35]
    span_id = value[36:52]
    flags = value[53:55]
    if size > SIZE and (version == b"00" or value[55] != DASH):
        return None
    if (version + trace_id + span_id + flags).translate(None, HEX) or version == b"ff":
        return None
    if trace_id == NO_TRACE or span_id == NO_SPAN:
        return None
    return Parent(trace_id, span_id, int(flags, 16) & 1 == 1)


def state_is_valid(value: bytes) -> bool:
    """Whether a tracestate keeps the grammar (section 3.3.1): at most 32 members, none of them twice."""
    if len(value) > LARGEST:
        return False
    keys: set[bytes] = set()
    for part in value.split(b","):
        member = part.strip(b" \t")
        if not member:
            continue
        found = MEMBER.fullmatch(member)
        if found is None or found.group(1) in keys or len(keys) == MEMBERS:
            return False
        keys.add(found.group(1))
    return bool(keys)
