"""What `portico up` prints when it is ready."""

from __future__ import annotations

from portico import __version__
from portico.kernel import compiled


def summary(addresses: list[str], config: str, logs: str, role: str, seconds: float) -> list[str]:
    """At most six lines."""
    how = "compiled" if compiled.status()[0] else "interpreted"
    part = "" if role == "all" else f", {role} only"
    lines = [f"Portico {__version__} is ready after {seconds:.1f} s (edge {how}{part})"]
    if addresses:
        lines.append(f"  listens   {'  '.join(addresses)}")
    if role == "all" and addresses[0].startswith("http"):
        lines.append(f"  API docs  {addresses[0]}/docs")
    lines.append(f"  config    {config}")
    lines.append(f"  logs      {logs}")
    lines.append("  stop      Ctrl-C, or `portico down`")
    return lines
