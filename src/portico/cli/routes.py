"""`portico routes`: every path that the gateway answers, in the order in which they are matched."""

from __future__ import annotations

from typing import Any

from portico.cli.options import Config, Json

COLUMNS = ("host", "path", "methods", "route", "upstream", "layer", "source", "policies")


def run(config: Config = None, as_json: Json = False) -> None:
    """List the routes in the order of matching. The first line that fits a request wins."""
    from portico.cli.output import show, table
    from portico.runtime.build import Builder
    from portico.runtime.find import default_config
    from portico.runtime.options import UpOptions
    from portico.runtime.routes import listing

    rows = listing(Builder(UpOptions(config=config or default_config())).build(1).snapshot)
    show({"routes": rows}, table(COLUMNS, (_row(row) for row in rows)), as_json)


def _row(row: dict[str, Any]) -> list[str]:
    return [
        row["host"] or "any",
        row["path"],
        ",".join(row["methods"]) or "any",
        row["route"],
        row["upstream"],
        row["layer"],
        row["source"],
        ",".join(row["policies"]),
    ]
