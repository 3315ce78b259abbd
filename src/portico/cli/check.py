"""`portico check`: is a configuration right?"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from portico.cli.options import Json


def run(
    file: Annotated[Path | None, typer.Argument(metavar="[FILE]", help="./portico.yaml by default.")] = None,
    as_json: Json = False,
) -> None:
    """Check a configuration; every problem has its file and line. Nothing is started."""
    from portico.cli.output import count, show
    from portico.runtime.build import Builder
    from portico.runtime.find import DEFAULT_CONFIG
    from portico.runtime.options import UpOptions

    path = file or DEFAULT_CONFIG
    built = Builder(UpOptions(config=path)).build(1)
    own = [route for route in built.snapshot.routes if route.source == "file"]
    told = {"ok": True, "file": str(path), "routes": len(own), "warnings": list(built.warnings)}
    counted = f"{count(len(own), 'route')}, {count(len(built.snapshot.upstreams), 'upstream')}"
    lines = [f"{path}: right ({counted})", *(f"warning: {warning}" for warning in built.warnings)]
    show(told, lines, as_json)
