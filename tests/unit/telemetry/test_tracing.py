"""Trace context by its grammar, spans within spans, and what a process does with them."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.collector import Collector

from portico import contracts
from portico.telemetry import tracing
from portico.telemetry.tracing import Record
from portico.telemetry.tracing.process import Tracing

TRACE = b"4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = b"00f067aa0ba902b7"
VALID = b"00-" + TRACE + b"-" + PARENT + b"-01"


@pytest.mark.parametrize(
    ("value", "sampled"),
    [
        (VALID, True),
        (VALID[:-1] + b"0", False),
        (VALID[:-2] + b"03", True),
        (VALID[:-2] + b"02", False),
        (b"01" + VALID[2:], True),
        (b"fe" + VALID[2:] + b"-what follows", True),
    ],
)
def test_a_valid_parent(value: bytes, sampled: bool) -> None:
    found = tracing.parse(value)
    assert found is not None
    assert (found.trace_id, found.span_id, found.sampled) == (TRACE, PARENT, sampled)


@given(st.integers(0, len(VALID) - 1), st.binary(min_size=1, max_size=1))
def test_one_wrong_byte_is_found(at: int, byte: bytes) -> None:
    changed = VALID[:at] + byte + VALID[at + 1 :]
    if byte not in b"0123456789abcdef" and changed != VALID:
        assert tracing.parse(changed) is None


@given(st.binary(max_size=80))
def test_whatever_comes_is_read_without_an_error(value: bytes) -> None:
    found = tracing.parse(value)
    assert found is None or (len(found.trace_id), len(found.span_id)) == (32, 16)
    tracing.state_is_valid(value)


@pytest.mark.parametrize(
    ("value", "valid"),
    [
        (b"a=1", True),
        (b"a=1 ,\tb=2", True),
        (b"tenant@system=x", True),
        (b"0tenant@system=x", True),
        (b"0a=x", False),
        (b"a=", False),
        (b"a=x ", True),
        (b"a=\xff", False),
        (b"a" * 256 + b"=1", True),
        (b"a" * 257 + b"=1", False),
        (b"a=" + b"v" * 256, True),
        (b"a=" + b"v" * 257, False),
        (b"", False),
        (b",,", False),
        (b",".join(b"k%d=" % n + b"v" * 200 for n in range(30)), False),
    ],
)
def test_a_state(value: bytes, valid: bool) -> None:
    assert tracing.state_is_valid(value) is valid


def root(sink: Callable[[Record], None]) -> tracing.Span:
    return tracing.Span(sink, "root", tracing.SERVER, TRACE.decode(), PARENT.decode(), {"a": 1}, remote=True)


def test_nothing_is_recorded_where_nothing_is_traced() -> None:
    with tracing.span("alone") as made:
        assert made is None
        assert tracing.current() is None
        assert tracing.begin("alone") is None
        assert tracing.traceparent() == ""


def test_spans_within_spans() -> None:
    found: list[Record] = []
    with root(found.append) as whole:
        assert tracing.traceparent() == f"00-{TRACE.decode()}-{whole.id}-01"
        with tracing.span("part", tracing.CLIENT, {"b": "c"}) as part:
            assert part is tracing.current()
            open_one = tracing.begin("open")
            assert part is not None
            part.event("half")
        assert open_one is not None
        open_one.end()
        open_one.end()
    part_, opened, outer = found
    assert (outer.parent_id, outer.remote, outer.kind, outer.attributes) == (
        PARENT.decode(),
        True,
        tracing.SERVER,
        {"a": 1},
    )
    assert (part_.parent_id, part_.remote, part_.kind) == (outer.span_id, False, tracing.CLIENT)
    assert opened.parent_id == part_.span_id
    assert [name for name, _ in part_.events] == ["half"]
    assert {each.trace_id for each in found} == {TRACE.decode()}
    assert all(each.start <= each.end for each in found)
    assert tracing.current() is None


def test_an_error_is_told_by_its_kind_alone() -> None:
    found: list[Record] = []
    with root(found.append), pytest.raises(ValueError), tracing.span("part"):
        raise ValueError("a password")
    assert (found[0].failed, found[0].attributes) == (True, {"error.type": "ValueError"})
    assert not found[1].failed


def test_a_task_that_outlives_its_request_is_traced_no_longer() -> None:
    found: list[Record] = []

    async def main() -> None:
        over = asyncio.Event()

        async def lasting() -> None:
            with tracing.span("during"):
                pass
            await over.wait()
            with tracing.span("after"):
                pass

        with root(found.append):
            task = asyncio.create_task(lasting())
            await asyncio.sleep(0)
        over.set()
        await task

    asyncio.run(main())
    assert [each.name for each in found] == ["during", "root"]


def test_a_span_that_costs_nothing() -> None:
    began = time.perf_counter()
    for _ in range(100_000):
        with tracing.span("x", tracing.CLIENT):
            pass
    assert time.perf_counter() - began < 2.0  # 20 µs each; it takes 0.3 µs


def test_a_process_continues_what_is_sampled_while_tracing_is_on() -> None:
    async def main(url: str) -> dict[str, int]:
        process = Tracing()
        assert process.continued(VALID, "GET") is None
        await process.configure(contracts.Tracing(url + "/v1/traces"))
        for refused in (VALID[:-1] + b"0", b"", b"nonsense"):
            assert process.continued(refused, "GET") is None
        begun = process.continued(VALID, "GET")
        assert begun is not None
        with begun:
            pass
        for wrong in (b"", b"{}", b"[]", b'{"instance":"e","spans":[[1]]}', b'{"instance":"e","spans":7}'):
            with pytest.raises(ValueError):
                await process.take_from_edge(wrong)
        row = ["edge's", 1, TRACE.decode(), "ab" * 8, "", 5, 9, {"x": "y"}, [["phase", 7]], True, False]
        await process.take_from_edge(json.dumps({"instance": "edge-3", "spans": [row]}).encode())
        await process.stop()
        await process.stop()
        process.take(Record("late", 0, TRACE.decode(), "ab" * 8, "", 1, 2, {}))
        await process.take_from_edge(b"whatever")
        return process.counts()

    with Collector() as collector:
        assert asyncio.run(main(collector.url)) == {"spans_exported": 2, "spans_dropped": 1}
    spans = {span.name: span for span in collector.spans}
    assert (spans["GET"].service, spans["GET"].parent) == ("portico-services", PARENT.decode())
    edge = spans["edge's"]
    assert (edge.service, edge.parent, edge.failed, edge.events) == ("portico-edge", "", True, [("phase", 7)])
    assert edge.instance.endswith("/edge-3")
    assert (edge.start, edge.end, edge.attributes) == (5, 9, {"x": "y"})
