"""Loads the edge's hot modules as compiled by mypyc, or leaves them interpreted: all of them or none, never a mix.

`tools/compile.py` (a checkout) or the wheel's build writes one directory with a `manifest.json`:

    {"modules":   {"portico.edge.routes": {"source_sha256": "…", "file": "portico/edge/routes.cpython-….so"}, …},
     "libraries": {"<hash>__mypyc": "<hash>__mypyc.cpython-….so"},
     "sources":   {"portico.contracts": "…"}}

`file` is relative to the directory. `sources` is optional: modules that were not compiled but whose constants went into
the compiled ones. A hash that differs from the source's makes the whole directory stale. `PORTICO_COMPILED` chooses:
unset or "auto" uses it when nothing is stale, "1" demands it, "0" runs interpreted. `PORTICO_COMPILED_DIR` overrides
where it is: `build/compiled` of a checkout, `portico/_compiled` in a wheel.
"""

from __future__ import annotations

import hashlib
import importlib
import json
import os
import sys
from importlib.abc import MetaPathFinder
from importlib.machinery import EXTENSION_SUFFIXES, ExtensionFileLoader, ModuleSpec
from importlib.util import spec_from_file_location
from pathlib import Path
from types import ModuleType
from typing import Any, Final

from portico.errors import CompiledError

MODES: Final = ("auto", "1", "0")


class CompiledFinder(MetaPathFinder):
    """Finds the modules of one manifest as the extension files that it names."""

    def __init__(self, files: dict[str, str], libraries: list[str], reason: str) -> None:
        self.files = files
        self.libraries = libraries
        self.reason = reason

    def find_spec(self, fullname: str, path: Any, target: ModuleType | None = None) -> ModuleSpec | None:
        """The compiled module's spec, or None for a module that the manifest does not name."""
        file = self.files.get(fullname)
        if file is None:
            return None
        return spec_from_file_location(fullname, file, loader=ExtensionFileLoader(fullname, file))


def install(mode: str | None = None) -> tuple[bool, str]:
    """Make later imports of hot modules load the compiled ones, if `mode` and the hashes allow it.

    Call it before the first hot module is imported. `mode` defaults to $PORTICO_COMPILED. Answers whether they are
    compiled, and why. CompiledError when compiled ones are demanded and can't be used; it names the module.
    """
    chosen = _mode(mode)
    active = _active()
    if chosen == "0":
        if active is not None:
            sys.meta_path.remove(active)
        return False, "interpreted: PORTICO_COMPILED=0"
    if active is not None:
        return True, active.reason
    finder, reason = _plan(directory())
    if finder is not None:
        reason = _activate(finder)
        if not reason:
            return True, finder.reason
    if chosen == "1":
        raise CompiledError(reason)
    return False, f"interpreted: {reason}"


def status(mode: str | None = None) -> tuple[bool, str]:
    """Whether hot modules are compiled in this process, or would be in one that calls `install` now, and why."""
    chosen = _mode(mode)
    active = _active()
    if active is not None:
        return True, active.reason
    if chosen == "0":
        return False, "interpreted: PORTICO_COMPILED=0"
    finder, reason = _plan(directory())
    return (False, f"interpreted: {reason}") if finder is None else (True, finder.reason)


def directory() -> Path:
    """Where compiled modules are looked for; it need not exist."""
    override = os.environ.get("PORTICO_COMPILED_DIR")
    if override:
        return Path(override)
    package = _package()
    if package.parent.name == "src" and (package.parent.parent / "pyproject.toml").is_file():
        return package.parent.parent / "build" / "compiled"
    return package / "_compiled"


def _package() -> Path:
    return Path(__file__).resolve().parent.parent


def _mode(mode: str | None) -> str:
    chosen = mode if mode is not None else os.environ.get("PORTICO_COMPILED") or "auto"
    if chosen not in MODES:
        raise CompiledError(f"PORTICO_COMPILED is one of {', '.join(MODES)}, not {chosen!r}")
    return chosen


def _active() -> CompiledFinder | None:
    return next((finder for finder in sys.meta_path if isinstance(finder, CompiledFinder)), None)


def _activate(finder: CompiledFinder) -> str:
    """Put the finder in place; the reason why not, else "". The shared libraries are loaded to see that they can be."""
    loaded = sorted(name for name in finder.files if name in sys.modules)
    if loaded:
        return f"{loaded[0]} was imported before the compiled modules were installed"
    sys.meta_path.insert(0, finder)
    for name in finder.libraries:
        try:
            importlib.import_module(name)
        except ImportError as error:
            sys.meta_path.remove(finder)
            return f"{name} can't be loaded: {error}"
    return ""


def _plan(root: Path) -> tuple[CompiledFinder | None, str]:
    """The finder when everything fits; else None and the reason."""
    manifest = root / "manifest.json"
    try:
        content = json.loads(manifest.read_text("utf-8"))
        modules: dict[str, dict[str, str]] = content["modules"]
        libraries: dict[str, str] = content["libraries"]
        hashes = {name: entry["source_sha256"] for name, entry in modules.items()} | content.get("sources", {})
        files = {name: entry["file"] for name, entry in modules.items()} | libraries
    except FileNotFoundError:
        return None, "nothing has been compiled"
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None, "manifest.json of the compiled modules can't be read"
    if not modules:
        return None, "manifest.json of the compiled modules names none"
    package = str(_package())
    for name, expected in hashes.items():
        if _source_hash(package, name) != expected:
            return None, f"{name} has changed since it was compiled"
    plan: dict[str, str] = {}
    for name, file in files.items():
        if file[file.rfind("/") + 1 :].removeprefix(name.rpartition(".")[2]) not in EXTENSION_SUFFIXES:
            return None, f"{name} was compiled for another Python"
        plan[name] = os.path.join(root, file)
        if not os.path.isfile(plan[name]):
            return None, f"the compiled file of {name} is missing"
    return CompiledFinder(plan, list(libraries), f"compiled: {len(modules)} modules"), ""


def _source_hash(package: str, name: str) -> str:
    """SHA-256 in hex of the source file of a module of the package in this folder; "" when there is none."""
    path = "/".join([package, *name.split(".")[1:]])
    for file in (f"{path}.py", f"{path}/__init__.py"):
        try:
            with open(file, "rb", buffering=0) as source:
                return hashlib.sha256(source.read()).hexdigest()
        except OSError:
            continue
    return ""
