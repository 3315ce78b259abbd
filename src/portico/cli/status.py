"""`portico status`: what a running gateway does."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from portico.cli.options import Config, DataDir, Json

COLUMNS = ("process", "pid", "state", "age", "restarts", "memory", "connections", "in flight", "requests", "lag p99")


def run(config: Config = None, data_dir: DataDir = None, as_json: Json = False) -> None:
    """Show the gateway's processes, listeners and configuration."""
    from portico.cli.output import show
    from portico.runtime import control, find

    body = control.ask(find.locate(config, data_dir), "status", 10.0)
    show(body, _lines(body), as_json)


def _lines(body: dict[str, Any]) -> Iterator[str]:
    from portico.cli.output import duration, table

    config = body["config"]
    how = "compiled" if body["compiled"] else "interpreted"
    yield f"Portico {body['version']} is {body['state']} (process {body['pid']}, {how}, up {duration(body['uptime'])})"
    yield f"  listens  {'  '.join(body['listeners']) or '-'}"
    yield f"  config   {config['file'] or 'defaults'}, version {config['version']} of {config['loaded']}"
    if config["last_error"]:
        yield "  the last reload was refused:"
        yield from (f"    {line}" for line in config["last_error"].splitlines())
    yield f"  logs     {body['logs']}"
    for name, state in body["dependencies"].items():
        yield f"  {name:<8} {state['status']}, {state['detail']}"
        if state["last_error"] and state["last_error"] != state["detail"]:
            yield f"{'':11}last error: {state['last_error']}"
    yield ""
    yield from table(COLUMNS, (_row(process) for process in body["processes"]))


def _row(process: dict[str, Any]) -> tuple[object, ...]:
    from portico.cli.output import duration

    return (
        f"{process['role']} {process['index']}",
        process["pid"] or "",
        process["state"],
        duration(process["age"]),
        process["restarts"],
        f"{process['rss'] / 1_048_576:.0f} MiB",
        process["connections"],
        process["in_flight"],
        process["requests"],
        f"{process['lag'] * 1000:.1f} ms",
    )
