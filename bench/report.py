"""Turns the runs of a benchmark into medians, ratios to nginx and a Markdown table."""

from __future__ import annotations

from statistics import median
from typing import Any, Final

Runs = dict[str, dict[str, list[dict[str, float]]]]  # traffic → server → one run a round
PEER: Final = "nginx"
UNDISTURBED: Final = 0.9  # of a core: what a gateway must have got, in the median, for its figures to be judged
BOUNDS: Final = {"portico compiled": 0.6, "portico interpreted": 0.45}


def summary(runs: Runs) -> dict[str, dict[str, dict[str, float]]]:
    """Traffic → server → median, least and most requests per second, the median of the rounds' ratios to nginx."""
    return {
        traffic: {name: _of_server(results, servers.get(PEER, [])) for name, results in servers.items()}
        for traffic, servers in runs.items()
    }


def _of_server(results: list[dict[str, float]], peer: list[dict[str, float]]) -> dict[str, float]:
    rates = [result["requests_per_second"] for result in results]
    ratios = [rate / other["requests_per_second"] for rate, other in zip(rates, peer, strict=False)]
    costs = [
        other["cpu_us_per_request"] / result["cpu_us_per_request"] for result, other in zip(results, peer, strict=False)
    ]
    middle = {
        key: median(result[key] for result in results) for key in ("cpu_us_per_request", "core", "p50_ms", "p99_ms")
    }
    return {
        "requests_per_second": median(rates),
        "least": min(rates),
        "most": max(rates),
        "ratio": median(ratios) if ratios else 0.0,
        "ratio_least": min(ratios, default=0.0),
        "ratio_most": max(ratios, default=0.0),
        "cpu_ratio": median(costs) if costs else 0.0,
        **middle,
    }


def table(result: dict[str, Any]) -> str:
    """The result as Markdown."""
    about = result["machine"]
    lines = [
        f"{result['date']}, {about['processor']}, {about['cores']} cores, {about['kernel']}, Python {about['python']},"
        f" nginx {about['nginx']}; {result['rounds']} interleaved rounds of {result['seconds']:g} s,"
        f" {result['connections']} connections, one core each.",
        "",
        "| traffic | gateway | requests/s, median (least–most) | × nginx (least–most) | bound | CPU µs a request"
        " | CPU × nginx | core | p50 ms | p99 ms |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for traffic, servers in result["summary"].items():
        for name, of in servers.items():
            lines.append(
                f"| {traffic} | {name} | {of['requests_per_second']:,.0f} ({of['least']:,.0f}–{of['most']:,.0f})"
                f" | {of['ratio']:.2f} ({of['ratio_least']:.2f}–{of['ratio_most']:.2f})"
                f" | {_verdict(name, of, servers.get(PEER, of))}"
                f" | {of['cpu_us_per_request']:.1f} | {of['cpu_ratio']:.2f} | {of['core']:.0%}"
                f" | {of['p50_ms']:.2f} | {of['p99_ms']:.2f} |"
            )
    return "\n".join(lines) + "\n"


def _verdict(name: str, of: dict[str, float], peer: dict[str, float]) -> str:
    """Whether the bound is met; no verdict when the gateway or its peer did not have its core to itself."""
    bound = BOUNDS.get(name)
    if bound is None:
        return ""
    if min(of["core"], peer["core"]) < UNDISTURBED:
        return f"{bound} not judged: disturbed"
    return f"{bound} {'met' if of['ratio'] >= bound else '**missed**'}"
