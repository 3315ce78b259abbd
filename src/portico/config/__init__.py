"""portico.yaml → Settings → the plain snapshot that everything runs on; every mistake with its file, line and path.

Each name is loaded when it is first asked for (PEP 562): the services want units of time, and not all settings.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from portico.config.compile import Compiled, PolicyKind, compile_snapshot, refused
    from portico.config.load import load_file
    from portico.config.schema import json_schema
    from portico.config.settings import Settings
    from portico.config.source import Defaults, Document, FileSource, Source

__all__ = [
    "Compiled",
    "Defaults",
    "Document",
    "FileSource",
    "PolicyKind",
    "Settings",
    "Source",
    "compile_snapshot",
    "json_schema",
    "load_file",
    "refused",
]

LATER: Final = {
    **dict.fromkeys(("Compiled", "PolicyKind", "compile_snapshot", "refused"), "compile"),
    **dict.fromkeys(("Defaults", "Document", "FileSource", "Source"), "source"),
    "Settings": "settings",
    "json_schema": "schema",
    "load_file": "load",
}


def __getattr__(name: str) -> Any:
    if name not in LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{LATER[name]}"), name)
