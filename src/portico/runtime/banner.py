"""What `portico up` prints when it is ready."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from portico import __version__
from portico.kernel import compiled

ADMIN_KEY: Final = "gateway_token"  # the services write it at the first start


def summary(addresses: list[str], config: str, data_dir: Path, role: str, seconds: float) -> list[str]:
    """At most seven lines."""
    how = "compiled" if compiled.status()[0] else "interpreted"
    part = "" if role == "all" else f", {role} only"
    lines = [f"Portico {__version__} is ready after {seconds:.1f} s (edge {how}{part})"]
    if addresses:
        lines.append(f"  listens   {'  '.join(addresses)}")
    if role == "all" and addresses[0].startswith("http"):
        lines.append(f"  API docs  {addresses[0]}/docs")
    lines.append(f"  config    {config}")
    lines.append(f"  logs      {data_dir / 'logs'}")
    if role != "edge":
        lines.append(f"  admin     API key in {data_dir / ADMIN_KEY}")
    lines.append("  stop      Ctrl-C, or `portico down`")
    return lines
