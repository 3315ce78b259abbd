r"""Named raw messages and what a strict reader makes of them, from the text files beside this module.

    case: bare-lf                     a name, unique in its directory
    rule: RFC 9112 2.2: ...           what it checks
    to: HEAD                          responses only: the method that was asked (GET when absent)
    | GET / HTTP/1.1\r\n              the bytes, in pieces; \r \n \t \\ \xNN, and \{text*count} repeats
    | Host: a\nX: b\r\n
    | \r\n
    refused: 400 bad_field            or the things that must hold, one a line:
    method: GET                       an attribute of the head; true and false for booleans
    body: hello                       the whole body
    field x-a: 1                      what `get` gives; "absent x-a:" for nothing
    kept: \r\nA: 1                    the lines that are passed on
    messages: 2                       how many complete messages there are (default 1)
    rest: GET                         bytes left over

Several attributes may stand in one file entry; they speak of the first message. `load("requests")` and
`load("responses")` give the cases; their `raw` bytes can be sent over a socket as they are.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

HERE = Path(__file__).parent
_ESCAPE = re.compile(rb"\\(?:\{(.*?)\*(\d+)\}|x([0-9a-fA-F]{2})|(.))")
_PLAIN = {b"r": b"\r", b"n": b"\n", b"t": b"\t", b"\\": b"\\"}


@dataclass
class Case:
    """One message of the corpus. `status` is 0 when it must be accepted."""

    name: str
    file: str
    rule: str = ""
    raw: bytes = b""
    to: bytes = b"GET"
    status: int = 0
    code: str = ""
    expected: dict[str, bytes] = field(default_factory=dict)


def load(kind: str) -> list[Case]:
    """The cases of `requests` or `responses`, in the order of their files."""
    cases: list[Case] = []
    for path in sorted((HERE / kind).glob("*.txt")):
        for line in path.read_text(encoding="ascii").splitlines():
            if line.startswith("case: "):
                cases.append(Case(line[6:].strip(), path.name))
            elif line and not line.startswith("#"):
                _add(cases[-1], line)
    return cases


def _add(case: Case, line: str) -> None:
    if line.startswith("| "):
        case.raw += unescape(line[2:])
        return
    key, colon, value = line.partition(":")
    value = value.strip(" ")
    assert colon, f"{case.file}: {case.name}: {line}"
    if key == "rule":
        case.rule = value
    elif key == "to":
        case.to = value.encode()
    elif key == "refused":
        status, case.code = value.split(" ")
        case.status = int(status)
    else:
        case.expected[key] = unescape(value)


def unescape(text: str) -> bytes:
    """The bytes that a line of the corpus stands for."""
    return _ESCAPE.sub(_escape, text.encode("ascii"))


def _escape(match: re.Match[bytes]) -> bytes:
    if match[2] is not None:
        return _ESCAPE.sub(_escape, match[1]) * int(match[2])
    if match[3] is not None:
        return bytes((int(match[3], 16),))
    return _PLAIN[match[4]]
