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


TABLES: Final = {"load": of_load, "latency": of_latency, "memory": of_memory, "start": of_start}
