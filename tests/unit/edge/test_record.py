"""What is counted, and what becomes of it when routes and upstreams go."""

from __future__ import annotations

from tests.unit.edge.policies.kit import exchange

from portico.edge.accesslog import AccessLog
from portico.edge.plan import CompiledRoute
from portico.edge.record import PAGE, REMOVED, Recorder, RouteStats


def recorder() -> Recorder:
    return Recorder(AccessLog("/dev/null"))


def ended(recorder: Recorder, stats: RouteStats, limit: str = "") -> None:
    """One exchange of a route, refused by `limit` if there is one."""
    made = exchange(now=1.0)
    made.route = CompiledRoute(stats.name, [], None, stats)
    made.status = 429 if limit else 200
    if limit:
        made.code = "rate_limited"
        made.notes["limit"] = limit
    recorder.record(made, 1.5)


def total(recorder: Recorder) -> tuple[int, int, int]:
    """All requests, refusals and observed latencies, whatever the route."""
    report = recorder.report()
    return tuple(sum(entry[-1] for entry in report[name]) for name in ("requests", "refused", "latency"))  # type: ignore[return-value]


def test_routes_that_come_and_go_leave_one_entry_and_no_count_is_lost() -> None:
    made = recorder()
    for number in range(100):
        stats = made.route(f"route-{number}")
        ended(made, stats)
        ended(made, stats, f"limit-{number}")
        made.keep({f"route-{number + 1}"}, set())
    assert list(made.routes) == [REMOVED]
    assert list(made.routes[REMOVED].refused) == ["-"]
    assert total(made) == (200, 100, 200)


def test_an_exchange_that_ends_after_its_route_has_gone_is_counted() -> None:
    made = recorder()
    old = made.route("old")
    ended(made, old)
    made.keep(set(), set())
    ended(made, old)
    ended(made, old, "limit")
    assert total(made) == (3, 1, 3)
    made.keep(set(), set())
    assert total(made) == (3, 1, 3)


def test_what_stays_keeps_its_counters() -> None:
    made = recorder()
    stays = made.route("stays")
    made.route("goes")
    ended(made, stays)
    made.keep({"stays"}, set())
    assert made.route("stays") is stays
    assert made.routes.keys() == {"stays", REMOVED}


def test_upstreams_too() -> None:
    made = recorder()
    for number in range(100):
        stats = made.upstream(f"upstream-{number}")
        stats.answered(200, 0.001)
        made.keep(set(), set())
        stats.count("cancelled")  # by an exchange that was in flight
    report = made.report()
    assert report["upstream"] == [[REMOVED, "2xx", 100], [REMOVED, "cancelled", 100]]
    assert [entry[3] for entry in report["upstream_latency"]] == [100]


def test_pages_make_a_whole_report_of_the_routes_that_were_asked() -> None:
    made = recorder()
    names = [f"route-{number}" for number in range(2 * PAGE + 7)]
    for name in names:
        made.route(name)
    for name in names[::3]:
        ended(made, made.route(name))
    made.upstream("one").answered(200, 0.1)
    first, pages = 0, []
    while not pages or first:
        pages.append(made.page(first))
        first = pages[-1]["next"]
    assert len(pages) == 3
    assert [entry[0] for page in pages for entry in page["requests"]] == names[::3]
    for name in ("requests", "latency", "refused", "upstream", "upstream_latency"):
        assert [entry for page in pages for entry in page[name]] == made.report()[name]
    assert [bool(page["counts"]) for page in pages] == [True, False, False]
    made.keep(set(names[1:]), {"one"})
    assert made.page(0)["epoch"] != pages[0]["epoch"]
