"""Turns the results of scenarios into Markdown: the machine, the bounds, and a table for each scenario."""

from __future__ import annotations

from collections.abc import Iterator
from statistics import median
from typing import Any, Final

from bounds import added, of, ratios, verdicts
from latency import DIRECT
from load import Run, Runs

PEERS: Final = ("nginx", "envoy")
PERCENTILES: Final = ("p50_ms", "p99_ms", "p999_ms")


def page(results: list[dict[str, Any]]) -> str:
    """All results as one Markdown page."""
    lines = ["# Results", "", "How each figure comes about: [method.md](../method.md).", ""]
    lines += ["## Bounds", "", "| what | bound | measured, median | verdict |", "|---|---|---|---|"]
    lines += [f"| {each.what} | {each.bound} | {each.measured} | {each.verdict} |" for each in verdicts(results)]
    for result in results:
        lines += ["", f"## {result['title']}", "", about(result), "", *TABLES[result["kind"]](result["runs"])]
        lines += [f"\n{note}" for note in notes(result)]
    return "\n".join(lines) + "\n"


def about(result: dict[str, Any]) -> str:
    """The machine and the extent of one scenario, as a sentence."""
    machine = result["machine"]
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    extent = f"{result['rounds']} round{'s' if result['rounds'] > 1 else ''}"
    if result["seconds"]:
        extent += f" of {result['seconds']:g} s"
    if "connections" in result:
        extent += f", {result['connections']} connections"
    return (
        f"{result['date']}; {machine['processor']}, {machine['cores']} cores, {machine['kernel']}, Python"
        f" {machine['python']}, {versions}; load {machine['load']}; {extent}."
    )


def notes(result: dict[str, Any]) -> Iterator[str]:
    """What a reader must know beside the table."""
    for name, why in result.get("skipped", {}).items():
        yield f"{name} was not there ({why})."
    memory = {
        traffic: of(some, "edge_mb")
        for traffic, servers in result["runs"].items()
        for some in servers.values()
        if some and "edge_mb" in some[0]
    }
    if result["kind"] == "load" and memory:
        yield "PSS of the edge: " + ", ".join(f"{mb:.1f} MB with {what}" for what, mb in memory.items()) + "."
    for name, count in result.get("log_lines", {}).items():
        answered = sum(run["requests"] for servers in result["runs"].values() for run in servers.get(name, []))
        if 0 < count < answered:
            yield f"The access log of {name} has {count:,} lines for {answered:,.0f} requests."


def of_load(runs: Runs) -> Iterator[str]:
    """Requests a second, ratios, CPU time."""
    counted = any("instructions" in run for servers in runs.values() for some in servers.values() for run in some)
    more, dashes = (" instructions a request |", "---|") if counted else ("", "")
    yield (
        "| traffic | gateway | requests/s, median (least–most) | × nginx (least–most) | × envoy (least–most)"
        f" | CPU µs a request | CPU × nginx | core | p50 ms | p99 ms |{more}"
    )
    yield f"|---|---|---|---|---|---|---|---|---|---|{dashes}"
    for traffic, servers in runs.items():
        for name, some in servers.items():
            rates = [run["requests_per_second"] for run in some]
            beside = " | ".join(_ratio(ratios(some, servers.get(peer, []))) for peer in PEERS)
            costs = ratios(some, servers.get("nginx", []), "cpu_us_per_request")
            yield (
                f"| {traffic} | {name} | {median(rates):,.0f} ({min(rates):,.0f}–{max(rates):,.0f}) | {beside}"
                f" | {of(some, 'cpu_us_per_request'):.1f} | {f'{median(costs):.2f}' if costs else ''}"
                f" | {of(some, 'core'):.0%} | {of(some, 'p50_ms'):.2f} | {of(some, 'p99_ms'):.2f} |"
                + (f" {of(some, 'instructions'):,.0f} |" if counted else "")
            )


def _ratio(values: list[float]) -> str:
    return f"{median(values):.2f} ({min(values):.2f}–{max(values):.2f})" if values else ""


def of_latency(runs: Runs) -> Iterator[str]:
    """Percentiles, and what each adds to asking directly."""
    yield "| load | gateway | p50 ms | p99 ms | p99.9 ms | + p50 | + p99 (least–most) | + p99.9 | sent late, p99 |"
    yield "|---|---|---|---|---|---|---|---|---|"
    for traffic, servers in runs.items():
        for name, some in servers.items():
            own = " | ".join(f"{of(some, key):.2f}" for key in PERCENTILES)
            more = " | ".join(_added(some, servers[DIRECT], key) for key in PERCENTILES) if name != DIRECT else " | | "
            yield f"| {traffic} | {name} | {own} | {more} | {of(some, 'late_p99_ms'):.2f} |"


def _added(some: list[Run], direct: list[Run], key: str) -> str:
    values = added(some, direct, key)
    spread = f" ({min(values):.2f}–{max(values):.2f})" if key == "p99_ms" else ""
    return f"{median(values):.2f}{spread}"


def of_memory(runs: Runs) -> Iterator[str]:
    """Memory of each connection, and the longest parallel request."""
    yield "| kind | gateway | KB each (PSS) | edge before, MB | parallel request: longest, ms | p99 | messages/s |"
    yield "|---|---|---|---|---|---|---|"
    for kind, servers in runs.items():
        for name, some in servers.items():
            yield (
                f"| {kind} | {name} | {of(some, 'kb_each'):.1f} | {of(some, 'edge_kb') / 1024:.1f}"
                f" | {of(some, 'stall_ms'):.1f} | {of(some, 'p99_ms'):.2f} | {of(some, 'messages_per_second'):,.0f} |"
            )


def of_start(runs: Runs) -> Iterator[str]:
    """Seconds until ready, and memory by process."""
    yield "| gateway | edge ready, s | all ready, s | PSS: edge, MB | services | supervisor | all |"
    yield "|---|---|---|---|---|---|---|"
    for name, some in runs["start"].items():
        times = " | ".join(_ratio([run[key] for run in some]) for key in ("edge_seconds", "all_seconds"))
        sizes = " | ".join(f"{of(some, f'{role}_mb'):.1f}" for role in ("edge", "services", "supervisor", "all"))
        yield f"| {name} | {times} | {sizes} |"


def of_revocation(runs: Runs) -> Iterator[str]:
    """Milliseconds until the last worker refuses."""
    yield "| workers | gateway | revocations | p50 ms | longest ms |"
    yield "|---|---|---|---|---|"
    for traffic, servers in runs.items():
        for name, some in servers.items():
            count, longest = sum(run["count"] for run in some), max(run["max_ms"] for run in some)
            yield f"| {traffic} | {name} | {count:.0f} | {of(some, 'p50_ms'):.0f} | {longest:.0f} |"


def of_jobs(runs: Runs) -> Iterator[str]:
    """Jobs a second, and milliseconds of a claim."""
    yield "| database | small jobs enqueued and finished a second, median (least–most) |"
    yield "|---|---|"
    for name, some in runs["rate"].items():
        rates = [run["jobs_per_second"] for run in some]
        yield f"| {name} | {median(rates):,.0f} ({min(rates):,.0f}–{max(rates):,.0f}) |"
    yield ""
    yield "| database | claim of 100, ms |"
    yield "|---|---|"
    for name, some in runs["claim"].items():
        yield f"| {name} | {of(some, 'claim_ms'):.1f} |"


def of_webhooks(runs: Runs) -> Iterator[str]:
    """Deliveries a second, and CPU time."""
    yield "| gateway | deliveries/s, median (least–most) | CPU ms of the services for each |"
    yield "|---|---|---|"
    for name, some in runs["deliveries"].items():
        rates = [run["deliveries_per_second"] for run in some]
        yield f"| {name} | {median(rates):,.0f} ({min(rates):,.0f}–{max(rates):,.0f}) | {of(some, 'cpu_ms'):.2f} |"


def of_detect(runs: Runs) -> Iterator[str]:
    """Requests a second of one core of the services, latencies at a fixed rate, what is added to an engine's."""
    yield (
        "| what | requests/s, median (least–most) | CPU ms of the services | p50 ms | p99 ms | + p50 of the engine"
        " | + p99 of the upstream |"
    )
    yield "|---|---|---|---|---|---|---|"
    for name, servers in runs.items():
        for some in servers.values():
            rates = [run["requests_per_second"] for run in some]
            keys = ("added_ms", "added_p99_ms")
            more = " | ".join(f"{of(some, key):.2f}" if key in some[0] else "" for key in keys)
            yield (
                f"| {name} | {median(rates):,.0f} ({min(rates):,.0f}–{max(rates):,.0f}) | {of(some, 'cpu_ms'):.2f}"
                f" | {of(some, 'p50_ms'):.2f} | {of(some, 'p99_ms'):.2f} | {more} |"
            )


def of_detect_async(runs: Runs) -> Iterator[str]:
    """Requests a second, how long each takes, and CPU time."""
    yield "| what | requests/s, median (least–most) | p50 ms | p99 ms | CPU ms of the services for each |"
    yield "|---|---|---|---|---|"
    for name, some in runs["detection"].items():
        rates = [run["per_second"] for run in some]
        times = " | ".join(f"{of(some, key):.1f}" for key in ("p50_ms", "p99_ms"))
        rate = f"{median(rates):,.0f} ({min(rates):,.0f}–{max(rates):,.0f})"
        yield f"| {name} | {rate} | {times} | {of(some, 'cpu_ms'):.2f} |"


TABLES: Final = {
    "load": of_load,
    "latency": of_latency,
    "memory": of_memory,
    "start": of_start,
    "revocation": of_revocation,
    "jobs": of_jobs,
    "webhooks": of_webhooks,
    "detect": of_detect,
    "detect_async": of_detect_async,
}
