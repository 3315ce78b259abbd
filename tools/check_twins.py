"""Checks that every policy is twins, with a test: its model, its behaviour, and what holds both to their word.

`config/policies/rate.py` · `edge/policies/rate.py` with a function `build` · `tests/unit/edge/policies/test_rate.py`.
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent
SHARED: Final = frozenset({"__init__", "by", "cost"})  # modules of config/policies that several models use


def main(root: Path = ROOT) -> int:
    """Print every policy that lacks a part; 1 when there is one."""
    complaints = list(missing(root))
    for complaint in complaints:
        print(complaint)
    if not complaints:
        print("policies: every one has its model, its behaviour and its test")
    return 1 if complaints else 0


def missing(root: Path) -> Iterator[str]:
    """What each policy lacks."""
    models = {path.stem for path in (root / "src/portico/config/policies").glob("*.py")} - SHARED
    behaviours = {path.stem for path in (root / "src/portico/edge/policies").glob("*.py") if builds(path)}
    tests = {path.stem.removeprefix("test_") for path in (root / "tests/unit/edge/policies").glob("test_*.py")}
    for name in sorted(models | behaviours):
        if name not in models:
            yield f"policy {name}: there is no model src/portico/config/policies/{name}.py"
        if name not in behaviours:
            yield f"policy {name}: there is no function build in src/portico/edge/policies/{name}.py"
        if name not in tests:
            yield f"policy {name}: there is no test tests/unit/edge/policies/test_{name}.py"


def builds(path: Path) -> bool:
    """Whether the module has a function `build` of its own: helpers that policies share have none."""
    tree = ast.parse(path.read_bytes())
    return any(isinstance(node, ast.FunctionDef) and node.name == "build" for node in tree.body)


if __name__ == "__main__":
    sys.exit(main())
