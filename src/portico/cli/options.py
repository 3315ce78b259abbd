"""The options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Config = Annotated[
    Path | None, typer.Option("--config", "-c", metavar="FILE", help="The configuration (./portico.yaml).")
]
DataDir = Annotated[
    Path | None, typer.Option("--data-dir", metavar="DIR", help="The data directory; by default what the file says.")
]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
After = Annotated[str, typer.Option(metavar="CURSOR", help="Where the page before ended.")]
Limit = Annotated[int, typer.Option(metavar="N", help="How many at most.", min=1, max=500)]
