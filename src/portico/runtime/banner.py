"""What `portico up` prints when it is ready."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from portico import __version__

ADMIN_KEY: Final = "gateway_token"  # the services write it at the first start


def summary(addresses: list[str], config: str, data_dir: Path, role: str, compiled: bool, seconds: float) -> list[str]:
    """At most six lines, when the routes are served. Portico's own paths follow: see `whole`."""
    how = "compiled" if compiled else "interpreted"
    part = "" if role == "all" else f", {role} only"
    lines = [f"Portico {__version__} is ready after {seconds:.1f} s (edge {how}{part})"]
    if addresses:
        lines.append(f"  listens   {'  '.join(addresses)}")
    if role == "all" and addresses[0].startswith("http"):
        lines.append(f"  API docs  {addresses[0]}/docs")
    lines.append(f"  config    {config}")
    lines.append(f"  logs      {data_dir / 'logs'}")
    lines.append("  stop      Ctrl-C, or `portico down`")
    return lines


def whole(data_dir: Path, seconds: float) -> list[str]:
    """What follows when the services are ready too: only now is it known that the vault and the database open."""
    return [f"  services  ready after {seconds:.1f} s", *administrator(data_dir, "  admin     ")]


def administrator(data_dir: Path, label: str) -> list[str]:
    """Where the first administrator's key is, and how to make others; nothing when its file has been removed."""
    file = data_dir / ADMIN_KEY
    return [f"{label}API key in {file}; others: `portico keys create`"] if file.exists() else []
