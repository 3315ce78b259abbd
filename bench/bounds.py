"""The bounds that the results are judged by: met, missed, or not judged because the machine was disturbed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from statistics import median
from typing import Any, Final

from latency import COMPUTING, DIRECT
from load import Run, Runs

OURS: Final = "portico compiled"
UNDISTURBED: Final = 0.9  # of a core: what a gateway must have got, in the median, for its requests a second to count
FOREIGN: Final = 0.2  # cores that others may have used, in the median, for times to count
RATIOS: Final = (  # traffic, gateway, peer, least ratio
    ("same fields", OURS, "nginx", 0.95),
    ("differing fields", OURS, "nginx", 0.8),
    ("same fields", OURS, "envoy", 1.5),
    ("differing fields", OURS, "envoy", 1.5),
    ("same fields", "portico interpreted", "nginx", 0.45),
    ("differing fields", "portico interpreted", "nginx", 0.45),
)
FLAT: Final = 1.1  # CPU time a request with 10,000 routes, of that with one
ADDED_MS: Final = 1.0  # p99; twice that while the services compute
KB_EACH: Final = {"idle": 8.0, "websocket": 40.0, "sse": 40.0}
STALL_MS: Final = 50.0
REVOKED_MS: Final = 1000.0
KEYS: Final = ("one key of 1,000,000", "one key of 1,000")
START: Final = {"edge_seconds": (0.6, "s"), "all_seconds": (2.0, "s"), "edge_mb": (60.0, "MB"), "all_mb": (200.0, "MB")}
JOBS: Final = {"sqlite, 1 worker": 1000, "postgresql, 2 workers": 2000}  # a second
BACKLOG: Final = 2.0  # a claim's time with 1,000,000 jobs queued, of that with next to none
ACCEPTED: Final = 50.0  # ms within which texts sent at 1,000 a second are accepted, p99
DELIVERIES: Final = 500.0  # webhooks a second, of one core
DETECT: Final = (  # what is asked, figure, whether more is better, bound, what it is
    ("embedded, 500 characters", "requests_per_second", True, 1000.0, "texts judged a second by one core"),
    ("embedded, 500 characters", "p99_ms", False, 100.0, "p99 at 1,000/s, ms"),
    ("cached, 500 characters", "requests_per_second", True, 3000.0, "verdicts given again a second by one core"),
    ("engine of 5 ms", "added_ms", False, 1.0, "median less the engine's, ms"),
    ("plain route meanwhile", "added_p99_ms", False, 1.0, "p99 less the upstream's, ms"),
)
NAMES: Final = {
    "edge_seconds": "edge ready after the start",
    "all_seconds": "all ready after the start",
    "edge_mb": "PSS of the edge at rest",
    "all_mb": "PSS of all processes at rest",
}


@dataclass(frozen=True)
class Verdict:
    """One bound, what was measured, and "met", "missed" or "not judged (disturbed)"."""

    what: str
    bound: str
    measured: str
    verdict: str


def of(run: list[Run], key: str) -> float:
    """The median of one figure over the rounds."""
    return median(each[key] for each in run)


def ratios(some: list[Run], others: list[Run], key: str = "requests_per_second") -> list[float]:
    """One figure in proportion to another server's in the same round."""
    return [one[key] / other[key] for one, other in zip(some, others, strict=False) if other[key]]


def added(some: list[Run], direct: list[Run], key: str) -> list[float]:
    """One figure less that of asking the upstream directly in the same round."""
    return [one[key] - other[key] for one, other in zip(some, direct, strict=False)]


def verdicts(results: list[dict[str, Any]]) -> list[Verdict]:
    """Every bound for which there are results."""
    judges = {
        "load": _of_load,
        "latency": _of_latency,
        "memory": _of_memory,
        "start": _of_start,
        "revocation": _of_revocation,
        "jobs": _of_jobs,
        "webhooks": _of_webhooks,
        "detect": _of_detect,
        "detect_async": _of_detect_async,
    }
    return [verdict for result in results for verdict in judges[result["kind"]](result["runs"])]


def _say(ok: bool, disturbed: bool) -> str:
    return "not judged (disturbed)" if disturbed else "met" if ok else "missed"


def _of_load(runs: Runs) -> Iterator[Verdict]:
    for traffic, name, peer, least in RATIOS:
        some, others = runs.get(traffic, {}).get(name), runs.get(traffic, {}).get(peer)
        if some and others:
            ratio = median(ratios(some, others))
            disturbed = min(of(some, "core"), of(others, "core")) < UNDISTURBED
            yield Verdict(
                f"{name} ÷ {peer}, requests/s, {traffic}", f"≥ {least}", f"{ratio:.2f}", _say(ratio >= least, disturbed)
            )
    one = runs.get("1 route", {}).get(OURS)
    few = runs.get(KEYS[1], {}).get(OURS)
    pairs = [(traffic, "1 route", one) for traffic in ("10,000 routes, all asked", "10,000 routes, one asked")]
    for traffic, less, one in [*pairs, (*KEYS, few)]:
        many = runs.get(traffic, {}).get(OURS)
        if not (one and many):
            continue
        ratio = median(ratios(many, one, "cpu_us_per_request"))
        disturbed = min(of(one, "core"), of(many, "core")) < UNDISTURBED
        yield Verdict(
            f"CPU time a request, {traffic} ÷ {less}", f"≤ {FLAT}", f"{ratio:.2f}", _say(ratio <= FLAT, disturbed)
        )


def _of_latency(runs: Runs) -> Iterator[Verdict]:
    for traffic, servers in runs.items():
        if OURS in servers and DIRECT in servers:
            bound = ADDED_MS * (2 if COMPUTING in traffic else 1)
            value = median(added(servers[OURS], servers[DIRECT], "p99_ms"))
            disturbed = max(of(servers[OURS], "foreign"), of(servers[DIRECT], "foreign")) > FOREIGN
            yield Verdict(
                f"p99 less direct, {traffic}", f"≤ {bound:g} ms", f"{value:.2f} ms", _say(value <= bound, disturbed)
            )


def _of_memory(runs: Runs) -> Iterator[Verdict]:
    """A stall that others may have caused is not judged; one that did not happen is."""
    for kind, servers in runs.items():
        some = servers[OURS]
        each, stall = of(some, "kb_each"), of(some, "stall_ms")
        yield Verdict(
            f"memory of each connection, {kind}",
            f"≤ {KB_EACH[kind]:g} KB",
            f"{each:.1f} KB",
            _say(each <= KB_EACH[kind], False),
        )
        ok = stall <= STALL_MS
        yield Verdict(
            f"longest parallel request, {kind}",
            f"≤ {STALL_MS:g} ms",
            f"{stall:.1f} ms",
            _say(ok, not ok and of(some, "foreign") > FOREIGN),
        )


def _of_revocation(runs: Runs) -> Iterator[Verdict]:
    for traffic, servers in runs.items():
        some = servers[OURS]
        longest = max(run["max_ms"] for run in some)
        ok = longest <= REVOKED_MS
        disturbed = not ok and of(some, "foreign") > FOREIGN
        bound = f"≤ {REVOKED_MS:g} ms"
        yield Verdict(f"longest revocation, {traffic}", bound, f"{longest:.0f} ms", _say(ok, disturbed))


def _of_start(runs: Runs) -> Iterator[Verdict]:
    some = runs["start"][OURS]
    for key, (bound, unit) in START.items():
        value = of(some, key)
        ok = value <= bound
        disturbed = unit == "s" and not ok and of(some, "foreign") > FOREIGN
        yield Verdict(NAMES[key], f"≤ {bound:g} {unit}", f"{value:.2f} {unit}", _say(ok, disturbed))


def _of_jobs(runs: Runs) -> Iterator[Verdict]:
    for name, least in JOBS.items():
        some = runs["rate"][name]
        rate = of(some, "jobs_per_second")
        disturbed = rate < least and of(some, "foreign") > FOREIGN
        yield Verdict(
            f"background jobs a second, {name}", f"≥ {least:,}", f"{rate:,.0f}", _say(rate >= least, disturbed)
        )
    for kind in ("sqlite", "postgresql"):
        ratio = median(
            ratios(runs["claim"][f"{kind}, 1,000,000 queued"], runs["claim"][f"{kind}, 0 queued"], "claim_ms")
        )
        yield Verdict(
            f"claim with 1,000,000 queued ÷ 100, {kind}", f"≤ {BACKLOG}", f"{ratio:.2f}", _say(ratio <= BACKLOG, False)
        )


def _of_webhooks(runs: Runs) -> Iterator[Verdict]:
    for name, some in runs["deliveries"].items():
        rate = of(some, "deliveries_per_second")
        disturbed = rate < DELIVERIES and of(some, "foreign") > FOREIGN
        yield Verdict(
            f"webhooks delivered a second by one core, {name}",
            f"≥ {DELIVERIES:,.0f}",
            f"{rate:,.0f}",
            _say(rate >= DELIVERIES, disturbed),
        )


def _of_detect(runs: Runs) -> Iterator[Verdict]:
    for name, key, more, bound, what in DETECT:
        for some in runs.get(name, {}).values():
            value = of(some, key)
            ok = value >= bound if more else value <= bound
            sign = "≥" if more else "≤"
            disturbed = not ok and of(some, "foreign") > FOREIGN
            yield Verdict(f"{what}, {name}", f"{sign} {bound:,g}", f"{value:,.2f}", _say(ok, disturbed))


def _of_detect_async(runs: Runs) -> Iterator[Verdict]:
    some = runs["detection"]["accepted at 1,000/s"]
    took = of(some, "p99_ms")
    disturbed = took > ACCEPTED and of(some, "foreign") > FOREIGN
    yield Verdict(
        "texts accepted in the background at 1,000/s on one core, p99",
        f"≤ {ACCEPTED:.0f} ms",
        f"{took:.1f} ms",
        _say(took <= ACCEPTED, disturbed),
    )
