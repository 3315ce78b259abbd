"""`portico version`: what is installed here."""

from __future__ import annotations

import platform

from portico.cli.options import Json


def run(as_json: Json = False) -> None:
    """Print the version, and whether the edge runs compiled."""
    from portico import __version__
    from portico.cli.output import show
    from portico.kernel import compiled

    is_compiled, reason = compiled.status()
    python = platform.python_version()
    told = {"version": __version__, "python": python, "compiled": is_compiled, "reason": reason}
    show(told, [f"portico {__version__} (Python {python}, edge {reason})"], as_json)
