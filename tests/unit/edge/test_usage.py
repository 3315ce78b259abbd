"""Usage as it is counted for each caller, and as it becomes rows."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.edge.policies.kit import WALL, exchange, principal

from portico.edge.accesslog import AccessLog
from portico.edge.guard.guarded import Guarded, Judged
from portico.edge.plan import CompiledRoute
from portico.edge.record import BOUNDS, Recorder
from portico.edge.spool.backlog import Backlog, Rows
from portico.edge.usage import BUCKETS, CELLS, LIMITED, OWN, RECENT, REFUSALS
from portico.identity.principal import Principal

CALLERS = (None, principal("ada"), principal("bob"), Principal("eve", "person", "acme", ()))


def recorder() -> Recorder:
    made = Recorder(AccessLog("/dev/null"))
    made.usage.on = True
    return made


def ended(
    made: Recorder,
    who: Principal | None = None,
    route: str = "users",
    *,
    method: bytes = b"GET",
    status: int = 200,
    wall: float = WALL,
    seconds: float = 0.0015,
    code: str = "",
    client: bytes = b"192.0.2.1",
    target: bytes = b"/users/1",
    guarded: Guarded | None = None,
) -> None:
    """One exchange."""
    one = exchange(method=method, wall=wall, principal=who, client=client)
    one.route = CompiledRoute(route, [], None, made.route(route))
    one.status, one.code, one.target = status, code, target
    one.bytes_in, one.bytes_out = 3, 5
    one.guarded = guarded
    made.record(one, one.now + seconds)


def rows(made: Recorder, kind: str = "usage", backlog: Backlog | None = None) -> Rows:
    """What would be written of this kind."""
    backlog = backlog or Backlog()
    backlog.add(made.usage.take(WALL))
    return [row for name, some in backlog.records(detail=True) for row in some if name == kind]


def test_a_row_says_who_what_how_often_and_how_long() -> None:
    made = recorder()
    ended(made, CALLERS[1], seconds=0.0015)
    ended(made, CALLERS[1], seconds=20.0)
    (row,) = rows(made)
    minute = int(WALL) // 60 * 60
    buckets = [0] * BUCKETS
    buckets[1] = buckets[13] = 1
    assert len(BOUNDS) + 1 == BUCKETS
    assert row[:12] == [minute, "ada", "ada", "key", "acme", "users", "GET", 200, 2, 6, 10, buckets]
    assert abs(row[12] - 20.0015) < 1e-9


def test_kinds_of_callers_are_told_apart() -> None:
    made = recorder()
    device = Principal("sensor", "device", "acme", ())
    for who in (*CALLERS, device, principal("eve")):
        ended(made, who)
    assert sorted(row[1:5] for row in rows(made)) == [
        ["", "", "anonymous", ""],
        ["", "eve", "person", "acme"],
        ["", "sensor", "device", "acme"],
        ["ada", "ada", "key", "acme"],
        ["bob", "bob", "key", "acme"],
        ["eve", "eve", "key", "acme"],
    ]


def test_a_minute_that_is_over_is_kept_apart() -> None:
    made = recorder()
    start = float(int(WALL) // 60 * 60)
    for wall in (start, start + 59.9, start + 60.0, start + 61.0, start + 150.0):
        ended(made, CALLERS[1], wall=wall)
    assert [(row[0] - start, row[8]) for row in rows(made)] == [(0, 2), (60, 2), (120, 1)]


@settings(max_examples=60, deadline=None)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(CALLERS),
            st.sampled_from(("users", "orders")),
            st.sampled_from((b"GET", b"POST", b"BREW")),
            st.sampled_from((200, 404)),
            st.sampled_from((0.0, 30.0, 70.0)),
            st.booleans(),
        ),
        max_size=60,
    )
)
def test_sums_are_exact_whenever_they_are_taken(
    requests: list[tuple[Principal | None, str, bytes, int, float, bool]],
) -> None:
    made, backlog, expected = recorder(), Backlog(), Counter[tuple[object, ...]]()
    wall = float(int(WALL) // 60 * 60)
    for who, route, method, status, later, take in requests:
        wall += later
        ended(made, who, route, method=method, status=status, wall=wall)
        name = "OTHER" if method == b"BREW" else method.decode()
        expected[int(wall) // 60 * 60, who.id if who else "", route, name, status] += 1
        if take:
            backlog.add(made.usage.take(wall))
    found = {(row[0], row[2], *row[5:8]): row[8] for row in rows(made, backlog=backlog)}
    assert found == dict(expected)


def test_some_requests_a_second_are_told_in_detail() -> None:
    made = recorder()
    for _ in range(RECENT + 50):
        ended(made, CALLERS[1], code="rate_limited", status=429, target=b"/users/pk_abc/x")
    found = rows(made, "recent")
    assert len(found) == RECENT
    # A segment that looks like a key is hidden, as in the access log.
    assert found[0][1:] == [
        "test", "ada", "ada", "key", "acme", "users", "GET", "/users/[redacted]/x", 429, "rate_limited", 1.5, 3, 5,
        "192.0.2.1",
    ]  # fmt: skip
    ended(made, CALLERS[1])
    assert len(rows(made, "recent")) == 1, "the next second has room again"


def test_a_query_is_in_no_detail() -> None:
    made = recorder()
    one = exchange()
    one.route = CompiledRoute("users", [], None, made.route("users"))
    one.status, one.target, one.query = 200, b"/users?token=secret", b"?token=secret"
    made.record(one, one.now)
    assert rows(made, "recent")[0][8] == "/users"


def test_refused_credentials_are_counted_by_code_network_and_route() -> None:
    made = recorder()
    for client in (b"192.0.2.1", b"192.0.2.1", b"2001:db8::1", b"2001:db8::2", b"::ffff:192.0.2.9"):
        ended(made, status=401, code="credentials_unknown", client=client)
    ended(made, CALLERS[1], status=403, code="permission_missing")
    ended(made, status=429, code="too_many_failures")
    for status, code in ((403, "cors_denied"), (429, "rate_limited"), (401, ""), (404, "route_unknown")):
        ended(made, status=status, code=code)
    told = ["test", "/users/1"]  # of one of them
    assert sorted(rows(made, "refused")) == [
        ["credentials_unknown", "192.0.2.1", "users", 2, *told],
        ["credentials_unknown", "192.0.2.9", "users", 1, *told],
        ["credentials_unknown", "2001:db8::/64", "users", 2, *told],
        ["permission_missing", "192.0.2.1", "users", 1, *told, "key", "ada", "acme"],
        ["too_many_failures", "192.0.2.1", "users", 1, *told],
    ]


def test_an_attacker_makes_no_more_than_so_many_rows() -> None:
    made = recorder()
    for number in range(3 * REFUSALS):
        ended(made, status=401, code="credentials_unknown", client=b"10.0.%d.%d" % divmod(number, 256))
    found = rows(made, "refused")
    assert len(found) == REFUSALS + 1
    assert sum(row[3] for row in found) == 3 * REFUSALS
    assert ["(others)", "", "", 2 * REFUSALS] in [row[:4] for row in found]


def test_what_can_not_be_written_is_merged_and_sums_stay_exact(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("portico.edge.spool.backlog.CELLS", 500)
    backlog, made = Backlog(), recorder()
    people = [principal(f"k{number}") for number in range(300)]
    for turn in range(3):
        for who in people:
            ended(made, who, wall=WALL + 60 * turn)
        backlog.add(made.usage.take(WALL))
    assert len(backlog.usage) <= 500
    assert backlog.merged > 0
    found = [row for kind, some in backlog.records(detail=True) for row in some if kind == "usage"]
    assert sum(row[8] for row in found) == 900
    assert sum(sum(row[11]) for row in found) == 900
    assert sum(row[9] for row in found) == 2700
    assert backlog.requests == 0


def test_rows_whose_writing_fails_stay() -> None:
    backlog, made = Backlog(), recorder()
    for number in range(350):
        ended(made, principal(f"k{number}"))
    backlog.add(made.usage.take(WALL))
    records = backlog.records(detail=True)
    written = [next(records), next(records)]  # the third one fails: nobody asks for a fourth
    first = {row[1] for row in written[0][1]}
    records.close()
    again = [row[1] for kind, some in backlog.records(detail=True) for row in some if kind == "usage"]
    assert len(again) == 250
    assert not first & set(again)


def test_nobody_takes_for_long_and_memory_stays_bounded() -> None:
    """Minutes go on in the same cells while far too much waits."""
    made = recorder()
    usage, stats = made.usage, made.route("users")
    people = [principal(f"k{number}") for number in range(20_000)]
    one = exchange()
    for turn in range(6):
        one.wall = WALL + 60 * turn
        for one.principal in people:
            usage.count(one, stats, b"GET", 0, 0.001, [])
    assert usage.held + len(usage.cells) <= CELLS + len(people)
    taken = usage.take(WALL)
    assert sum(sum(cell.buckets) for _, cells in taken.minutes for cell in cells.values()) == 120_000


def limited(made: Recorder, who: Principal | None, limit: str, own: bool = True) -> None:
    """One exchange that a limit has refused."""
    one = exchange(method=b"GET", wall=WALL, principal=who, client=b"192.0.2.1")
    one.route = CompiledRoute("users", [], None, made.route("users"))
    one.status, one.code, one.target = 429, "rate_limited", b"/users/1"
    one.notes["limit"] = limit
    if own:
        one.notes[OWN] = True
    made.record(one, one.now)


def test_limits_that_callers_have_used_up_are_counted_by_caller_and_limit() -> None:
    made, backlog = recorder(), Backlog()
    for who, limit, own in (
        (CALLERS[1], "5/minute", True),
        (CALLERS[1], "5/minute", True),
        (CALLERS[1], "9/day", True),
        (CALLERS[3], "5/minute", True),
        (CALLERS[2], "5/minute", False),  # others have used it up as well
        (None, "5/minute", True),
    ):
        limited(made, who, limit, own)
    backlog.add(made.usage.take(WALL))
    limited(made, CALLERS[1], "5/minute")
    assert sorted(rows(made, "limited", backlog)) == [
        ["", "eve", "person", "acme", "5/minute", 1],
        ["ada", "ada", "key", "acme", "5/minute", 3],
        ["ada", "ada", "key", "acme", "9/day", 1],
    ]
    assert rows(made, "limited", backlog) == [], "what was written is gone"


def test_only_so_many_callers_are_told_of_their_limits_at_a_time() -> None:
    made = recorder()
    for number in range(LIMITED + 50):
        limited(made, principal(f"key-{number}"), "5/minute")
    found = rows(made, "limited")
    assert len(found) == LIMITED
    assert all(row[-1] == 1 for row in found)


def guarded(request: Judged | None, response: Judged | None = None) -> Guarded:
    made = Guarded()
    made.of_request, made.of_response = request, response
    return made


def test_what_guards_have_judged_is_counted_by_caller_engine_and_verdict() -> None:
    made = recorder()
    clean, bad = Judged("one", False, 20_000, False, True), Judged("one", True, 900_000, True, False)
    ended(made, CALLERS[1], guarded=guarded(clean, clean))
    ended(made, CALLERS[1], "posts", guarded=guarded(bad))
    ended(made, CALLERS[1], guarded=guarded(None))
    ended(made, guarded=guarded(bad))
    ended(made, CALLERS[1])
    ended(made, CALLERS[1], guarded=guarded(None, Judged("two", False, 0, False, False)), wall=WALL + 60)
    minute = int(WALL) // 60 * 60
    who = (CALLERS[1].id, CALLERS[1].id, "key", CALLERS[1].tenant)
    assert sorted(rows(made, "judged")) == sorted([
        [minute, *who, "one", 0, 2, 40_000, 0, 2],
        [minute, *who, "one", 1, 1, 900_000, 1, 0],
        [minute + 60, *who, "two", 0, 1, 0, 0, 0],
        [minute, "", "", "anonymous", "", "one", 1, 1, 900_000, 1, 0],
    ])  # fmt: skip
    assert rows(made, "judged") == []


def test_verdicts_that_can_not_be_written_are_merged_and_their_sums_stay_exact(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("portico.edge.spool.backlog.CELLS", 500)
    backlog, made = Backlog(), recorder()
    people = [principal(f"k{number}") for number in range(300)]
    for turn in range(3):
        for who in people:
            ended(made, who, wall=WALL + 60 * turn, guarded=guarded(Judged("one", turn > 0, 10, False, False)))
        backlog.add(made.usage.take(WALL))
    assert len(backlog.judged) <= 500
    found = [row for kind, some in backlog.records(detail=True) for row in some if kind == "judged"]
    assert Counter({bad: sum(row[7] for row in found if row[6] == bad) for bad in (0, 1)}) == {0: 300, 1: 600}
    assert sum(row[8] for row in found) == 9000
