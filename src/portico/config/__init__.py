"""portico.yaml → Settings → the plain snapshot that everything runs on; every mistake with its file, line and path."""

from __future__ import annotations

from portico.config.compile import Compiled, PolicyKind, compile_snapshot, refused
from portico.config.load import load, load_file
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
    "load",
    "load_file",
    "refused",
]
