"""Every case of the corpus against the readers, in one piece and byte by byte."""

from __future__ import annotations

from typing import Any

import pytest
from tests.conformance.http1.corpus import Case, load
from tests.conformance.http1.driver import Message, Reading, bytewise, read_requests, read_responses

from portico.edge.http1.fields import FieldReader
from portico.edge.http1.names import Names

REQUESTS = load("requests")
RESPONSES = load("responses")


@pytest.mark.parametrize("case", REQUESTS, ids=lambda case: case.name)
def test_request(case: Case) -> None:
    verify(case, read_requests([case.raw]), True)
    verify(case, read_requests(bytewise(case.raw)), True)


@pytest.mark.parametrize("case", RESPONSES, ids=lambda case: case.name)
def test_response(case: Case) -> None:
    verify(case, read_responses([case.raw], [case.to]), False)
    verify(case, read_responses(bytewise(case.raw), [case.to]), False)


@pytest.mark.parametrize("cases", [REQUESTS, RESPONSES], ids=["requests", "responses"])
def test_corpus_is_whole(cases: list[Case]) -> None:
    names = [case.name for case in cases]
    assert len(set(names)) == len(names)
    for case in cases:
        assert case.rule, case.name
        assert case.raw, case.name
        assert bool(case.status) != bool(case.expected), f"{case.name} must be refused, or accepted for what it says"


def test_corpus_is_large() -> None:
    assert len(REQUESTS) >= 150
    assert len(RESPONSES) >= 45


def verify(case: Case, reading: Reading, request: bool) -> None:
    if case.status:
        assert reading.error == (case.status, case.code)
        assert all(not message.complete for message in reading.messages)
        return
    assert reading.error is None
    message = reading.messages[0]
    for key, value in case.expected.items():
        assert (key, observe(key, reading, message, request)) == (key, convert(key, value))
    if "messages" not in case.expected:
        assert len(reading.messages) == 1
    if "rest" not in case.expected:
        assert reading.rest == b""


def observe(key: str, reading: Reading, message: Message, request: bool) -> Any:
    kind, _, name = key.partition(" ")
    if kind in ("field", "absent"):
        fields = FieldReader(Names(), request)
        fields.take(message.block)
        return fields.get(name.encode())
    if key == "messages":
        return len([each for each in reading.messages if each.complete])
    if key == "rest":
        return reading.rest
    if key in ("body", "kept", "complete"):
        return getattr(message, key)
    return message.head[key]


def convert(key: str, value: bytes) -> Any:
    if key.startswith("absent "):
        return None
    if key in ("version", "length", "status", "messages"):
        return int(value)
    if value in (b"true", b"false") and key in ("keep_alive", "expect", "websocket", "upgrade", "complete"):
        return value == b"true"
    return value
