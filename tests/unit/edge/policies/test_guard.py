"""What a guard decides by the head alone, what it sends on, and how its words are told."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from tests.unit.edge.policies.kit import context, exchange, refused

from portico.config.policies.guard import Guard as Model
from portico.edge.exchange import UNKNOWN_LENGTH, Downstream, Exchange, Step
from portico.edge.gathering import Gathering
from portico.edge.guard.asking import AT_ONCE, OF_ONE, Lanes, Told, form_of
from portico.edge.guard.guarded import Guarded
from portico.edge.guard.refusals import answer_blocked, event
from portico.edge.guard.screen import Screen, end_of_events, value_of
from portico.edge.plan import CompiledRoute
from portico.edge.policies.guard import build
from portico.edge.policies.require import WHY
from portico.edge.record import RouteStats

JSON = b"\r\nContent-Type: application/json"


def step(**settings: Any) -> Step:
    """The step of a route whose `guard` is this, and which has no services."""
    return build(Model(detect="prompt_injection", **settings).policy().config, context())


def test_an_upstream_s_field_does_not_come_through() -> None:
    asked = exchange()
    assert step().check(asked) is None
    assert asked.response_edit is not None
    assert asked.response_edit.apply(b"\r\nx-portico-guard: mine\r\nX-A: 1") == b"\r\nX-A: 1"


def sent(made: Exchange) -> bytes:
    """The client's fields as they go on, and what is added."""
    assert made.request_edit is not None
    return made.request_edit.apply(made.fields.kept) + made.request_fields


def test_nothing_to_scan_passes_and_the_client_s_field_does_not() -> None:
    asked = exchange(b"\r\nX-Portico-Guard: clean\r\nX-A: 1")
    assert step().check(asked) is None
    assert sent(asked) == b"\r\nX-A: 1"
    assert type(asked.downstream) is Downstream


@pytest.mark.parametrize(
    ("block", "length", "status", "code"),
    [
        (JSON, 2 * 1024 * 1024, 413, "body_too_large"),
        (b"\r\nContent-Type: image/png", 5, 415, "guard_unscannable"),
        (b"", UNKNOWN_LENGTH, 415, "guard_unscannable"),
        (JSON + b"\r\nContent-Encoding: gzip", 5, 415, "guard_unscannable"),
    ],
)
def test_heads_that_are_refused(block: bytes, length: int, status: int, code: str) -> None:
    guard = step()
    assert guard.peek is not None
    for answer in (guard.check(exchange(block, length=length)), guard.peek(exchange(block, length=length))):
        refused(answer, status, code)


def test_an_open_guard_lets_through_what_it_can_t_scan_and_tells() -> None:
    asked = exchange(b"\r\nContent-Type: image/png", length=5)
    assert step(on_failure="open").check(asked) is None
    assert sent(asked).endswith(b"\r\nX-Portico-Guard: unscanned")


def test_answers_are_asked_for_plainly_only_where_they_are_scanned() -> None:
    for scanned in (True, False):
        asked = exchange(b"\r\nAccept-Encoding: br")
        assert step(response=scanned).check(asked) is None
        assert sent(asked) == (b"\r\nAccept-Encoding: identity" if scanned else b"\r\nAccept-Encoding: br")
        assert isinstance(asked.downstream, Screen) is scanned


def test_a_peek_tells_and_leaves_no_trace() -> None:
    asked = exchange(JSON, length=5)
    guard = step(on="flag", fields=["$.a", "$[0]"], response=True)
    assert guard.peek is not None
    assert guard.peek(asked) is None
    first, second = asked.notes[WHY]
    assert "$.a, $[0]; what is malicious with a confidence from 0.8 on goes on" in first
    assert "answer" in second
    assert asked.guarded is None
    assert type(asked.downstream) is Downstream


@pytest.mark.parametrize(("mode", "passes"), [("open", True), ("closed", False)])
def test_without_services_on_failure_decides(mode: str, passes: bool) -> None:
    async def ask() -> Exchange:
        asked = exchange(JSON, length=2)
        asked.downstream = Gathering()
        asked.pending = b"{}"
        asked.body_done = True
        asked.route = CompiledRoute("r", [], None, RouteStats("r"))
        answer = guard.check(asked)
        assert answer is not None
        found = await answer  # type: ignore[misc]
        if passes:
            assert found is None
            assert sent(asked).endswith(b"\r\nX-Portico-Guard: unavailable")
        else:
            refused(found, 503, "guard_unavailable")
        return asked

    guard = step(on_failure=mode)
    ended = asyncio.run(ask())
    assert guard.settle is not None
    guard.settle(ended)
    assert ended.route is not None
    assert ended.route.stats.guard == {("request", "unavailable"): 1}


def test_settling_ends_what_is_waited_for() -> None:
    async def leave() -> None:
        asked = exchange()
        guard = step()
        guard.check(asked)
        assert asked.guarded is not None
        work: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        asked.guarded.work = work
        later = asked.guarded.later = asyncio.get_running_loop().call_later(60, print)
        assert guard.settle is not None
        guard.settle(asked)
        assert work.cancelled()
        assert later.cancelled()

    asyncio.run(leave())


@pytest.mark.parametrize(
    ("kind", "coding", "form"),
    [
        (b"application/json", None, "json"),
        (b'Application/JSON; charset="UTF-8"', b"identity", "json"),
        (b"application/vnd.api+json", None, "json"),
        (b"text/plain;charset=us-ascii", None, "text"),
        (b"text/event-stream", None, "events"),
        (b"text/plain; charset=utf-16", None, ""),
        (b"text/plain; charset=utf-8; charset=utf-7", None, ""),
        (b'text/plain; x="; charset=utf-8; "; charset=utf-7', None, ""),
        (b"text/plain; charset*=us-ascii'en'utf-7", None, ""),
        (b"application/json; charset=utf-8; Charset=UTF-8", None, "json"),
        (b"application/json", b"br", ""),
        (b"application/json, text/plain", None, ""),
        (b"text/plain, application/json", None, ""),
        (b"multipart/form-data", None, ""),
        (b"", None, ""),
        (None, None, ""),
    ],
)
def test_how_a_body_is_scanned(kind: bytes | None, coding: bytes | None, form: str) -> None:
    assert form_of(kind, coding) == form


@pytest.mark.parametrize(
    ("record", "value"),
    [
        ({"malicious": True, "confidence": 0.934, "threat_types": ["injection", "jailbreak"]},
         b"malicious;confidence=0.934;threats=injection+jailbreak"),
        ({"confidence": 0}, b"clean;confidence=0.000"),
        ({"empty": True}, b"empty"),
    ],
)  # fmt: skip
def test_verdicts_in_a_field(record: dict[str, Any], value: bytes) -> None:
    assert Told(record).value() == value


def test_the_log_shows_the_verdicts_there_are() -> None:
    guarded = Guarded()
    guarded.response = b"clean"
    assert guarded.log_entry() == b'{"response":"clean"}'
    guarded.request = b"malicious"
    assert guarded.log_entry() == b'{"request":"malicious","response":"clean"}'


def test_events_end_where_a_line_is_empty() -> None:
    assert end_of_events(b"data: a") == 0
    assert end_of_events(b"data: a\n\ndata: b") == 9
    assert end_of_events(b"data: a\r\n\r\ndata: b\n\nx") == 20
    assert end_of_events(b"data: a\r\r") == 9
    assert end_of_events(b"data: a\n\r\ndata: b") == 9, "each line may end in its own way"


def test_a_field_among_raw_lines() -> None:
    lines = b"\r\nX-Content-Type: no\r\ncontent-type:  text/plain \r\nContent-Type: b"
    assert value_of(lines, b"content-type") == b"text/plain, b"
    assert value_of(lines, b"content-encoding") is None


def test_a_refusal_as_an_event_names_itself() -> None:
    told = event(answer_blocked(exchange(), Told({"threat_types": ["injection"]}))).decode()
    assert told.startswith("\n\nevent: error\ndata: {")
    assert '"code": "guard_answer_blocked"' in told
    assert told.endswith("\n\n")


def test_who_asks_much_keeps_nobody_else_waiting() -> None:
    async def ask() -> None:
        lanes = Lanes()
        end = asyncio.Event()
        seated: list[str] = []

        async def one(who: str) -> None:
            async with lanes.seat(who):
                seated.append(who)
                await end.wait()

        asking = [asyncio.create_task(one("greedy")) for _ in range(2 * AT_ONCE)]
        asking += [asyncio.create_task(one(f"other {number}")) for number in range(3)]
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        assert seated == ["greedy"] * OF_ONE + ["other 0", "other 1", "other 2"]
        asking[-1].cancel()
        end.set()
        await asyncio.gather(*asking, return_exceptions=True)
        assert seated.count("greedy") == 2 * AT_ONCE
        assert not lanes.callers, "who asks no more is forgotten"

    asyncio.run(ask())
