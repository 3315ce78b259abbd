"""Which requests are sampled, what goes upstream, and what is noted."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.edge.policies.kit import exchange

from portico.edge.admit import admit
from portico.edge.exchange import Exchange, Response, Step
from portico.edge.tracing.trace import WAITED, Trace, Tracer, without

TRACE = b"4bf92f3577b34da6a3ce929d0e0e4736"
PARENT = b"00f067aa0ba902b7"


def nobody(_: Exchange, __: Trace, ___: float) -> None:
    raise AssertionError("nothing ends here")


def tracer(sample: float = 1.0, trust: bool = False, key: bytes = b"k" * 32) -> Tracer:
    return Tracer(sample, trust, key, nobody)


def told(flags: bytes = b"01", trace_id: bytes = TRACE, more: bytes = b"") -> Exchange:
    return exchange(b"\r\nHost: a\r\nTraceparent: 00-" + trace_id + b"-" + PARENT + b"-" + flags + more)


def ids(count: int) -> list[bytes]:
    return [b"%032x" % (number * 0x9E3779B97F4A7C15F39CC0605CEDC835 % (1 << 128)) for number in range(1, count + 1)]


@pytest.mark.parametrize(("sample", "expected"), [(0.0, 0), (1.0, 500)])
def test_none_and_all(sample: float, expected: int) -> None:
    made = tracer(sample)
    assert sum(made.begin(exchange()).sampled for _ in range(500)) == expected
    assert sum(made.begin(told(trace_id=each)).sampled for each in ids(500)) == expected


def test_a_share_is_decided_by_the_id_and_alike_by_every_process() -> None:
    one, other, stranger = tracer(0.25), tracer(0.25), tracer(0.25, key=b"x" * 32)
    decided = [
        [each.begin(told(trace_id=trace_id)).sampled for trace_id in ids(2000)] for each in (one, other, stranger)
    ]
    assert decided[0] == decided[1]
    assert decided[0] != decided[2], "who does not know the key can't choose ids that are sampled"
    assert all(400 <= sum(each) <= 600 for each in decided)
    own = [one.begin(exchange()) for _ in range(2000)]
    assert 400 <= sum(each.sampled for each in own) <= 600
    assert len({each.trace_id for each in own} | {each.span_id for each in own}) == 4000


@pytest.mark.parametrize(("flags", "sampled"), [(b"01", True), (b"00", False)])
def test_with_trust_the_flag_decides(flags: bytes, sampled: bool) -> None:
    for share in (0.0, 1.0):
        made = tracer(share, trust=True).begin(told(flags))
        assert (made.sampled, made.trace_id, made.parent_id) == (sampled, TRACE, PARENT)
    assert tracer(0.0).begin(told(b"01")).sampled is False


def test_what_goes_upstream() -> None:
    made = tracer(0.0).begin(told(more=b"\r\nTracestate: a=1\r\nX-B: c"))
    assert made.lines(b"\r\nTraceparent: x\r\nTracestate: a=1\r\nX-B: c") == (
        b"\r\nTracestate: a=1\r\nX-B: c\r\ntraceparent: 00-" + TRACE + b"-" + made.span_id + b"-00"
    )
    bad = tracer(0.0).begin(told(more=b"\r\ntracestate: A"))
    assert bad.trace_id == TRACE
    assert b"tracestate" not in bad.lines(b"\r\nTraceparent: x\r\ntracestate: A").lower()


NAMES = st.sampled_from([b"traceparent", b"TraceParent", b"x-traceparent", b"traceparents", b"x", b"tracestate"])
LINES = st.lists(st.tuples(NAMES, st.sampled_from([b"", b" 1", b" traceparent: 2", b"\xc4\xb0"])), max_size=8)


@given(LINES)
def test_lines_are_taken_out_and_nothing_else(lines: list[tuple[bytes, bytes]]) -> None:
    def joined(some: list[tuple[bytes, bytes]]) -> bytes:
        return b"".join(b"\r\n" + name + b":" + value for name, value in some)

    kept = [line for line in lines if line[0].lower() != b"traceparent"]
    assert without(joined(lines), b"\r\ntraceparent:") == joined(kept)


def test_phases_are_noted_once_each_and_a_refusal_ends_them() -> None:
    def passes(_: Exchange) -> None:
        return None

    answers = [Step("a", 10, passes), Step("b", 20, passes), Step("c", 20, passes)]
    steps = [*answers, Step("d", 50, lambda _: Response(429)), Step("e", 80, passes)]
    request = exchange()
    request.trace = tracer(1.0).begin(request)
    answer = admit(request, steps)
    assert isinstance(answer, Response)
    assert request.rank == 4
    assert [phase for phase, _ in request.trace.phases] == [10, 20, 50]
    request.trace.waited()
    assert [phase for phase, _ in request.trace.phases] == [10, 20, 50, WAITED]
    quiet = exchange()
    quiet.trace = tracer(0.0).begin(quiet)
    admit(quiet, steps)
    quiet.trace.waited()
    assert quiet.rank == 4
    assert quiet.trace.phases == []


def test_attempts() -> None:
    made = tracer(1.0).begin(exchange())
    made.answered(200)  # nothing was asked: nothing to note
    made.failed("x")
    made.attempt(b"a:1")
    assert b"-" + made.attempts[0].span_id + b"-01" in made.lines(b"")
    made.failed("upstream_unreachable")
    ended = made.attempts[0].ended
    made.attempt(b"b:2")
    made.answered(200)
    first, second = made.attempts
    assert (first.code, first.ended, first.status) == ("upstream_unreachable", ended, 0)
    assert (second.code, second.ended, second.status, second.upstream) == ("", 0.0, 200, b"b:2")
    assert first.span_id != second.span_id == made.told
    quiet = tracer(0.0).begin(exchange())
    quiet.attempt(b"a:1")
    assert quiet.attempts == []
