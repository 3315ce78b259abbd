"""Keeps files and functions short.

In src/: files have a median of at most 110 lines, nine of ten at most 350; functions 12 and 40. Everywhere: no file
over 500 lines, no function over 80. What exceeds a hard limit needs a line in tools/size_exceptions.txt:

    src/portico/some/file.py 612
    src/portico/some/file.py::Class.method 95

with its present length. The list may only shrink: an entry that no longer exceeds, or whose length went down, is an
error until it is removed or lowered.
"""

from __future__ import annotations

import ast
import math
import sys
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

ROOT: Final = Path(__file__).resolve().parent.parent
BUDGETED: Final = "src"
FOLDERS: Final = (BUDGETED, "tests", "tools", "bench", "setup.py")
FILE_MAX: Final = 500
FUNCTION_MAX: Final = 80
FILE_BUDGET: Final = (110, 350)  # median, ninth decile
FUNCTION_BUDGET: Final = (12, 40)


def main(root: Path = ROOT) -> int:
    """Print every breach; 1 when there is one."""
    files, functions = measure(root)
    complaints = [
        *over(files | functions, exceptions(root / "tools" / "size_exceptions.txt")),
        *budget("files", _of_source(files), FILE_BUDGET),
        *budget("functions", _of_source(functions), FUNCTION_BUDGET),
    ]
    for complaint in complaints:
        print(complaint)
    if not complaints:
        print(f"sizes: {len(files)} files, {len(functions)} functions; src/: {_summary(files)} | {_summary(functions)}")
    return 1 if complaints else 0


def measure(root: Path) -> tuple[dict[str, int], dict[str, int]]:
    """Lines of each Python file, and of each function as `file::Class.method`."""
    files: dict[str, int] = {}
    functions: dict[str, int] = {}
    for path in sorted(_python_files(root)):
        name = path.relative_to(root).as_posix()
        text = path.read_text("utf-8")
        if not text.strip():
            continue
        files[name] = len(text.splitlines())
        functions |= {f"{name}::{function}": lines for function, lines in _functions(ast.parse(text, name), "")}
    return files, functions


def _python_files(root: Path) -> Iterator[Path]:
    for folder in FOLDERS:
        start = root / folder
        if start.is_file():
            yield start
        else:
            yield from start.rglob("*.py")


def _functions(node: ast.AST, prefix: str) -> Iterator[tuple[str, int]]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.FunctionDef | ast.AsyncFunctionDef):
            yield prefix + child.name, (child.end_lineno or child.lineno) - child.lineno + 1
            yield from _functions(child, f"{prefix}{child.name}.")
        elif isinstance(child, ast.ClassDef):
            yield from _functions(child, f"{prefix}{child.name}.")
        else:
            yield from _functions(child, prefix)


def exceptions(path: Path) -> dict[str, int]:
    """The exception list: what may exceed a hard limit, and by how many lines it does today."""
    listed: dict[str, int] = {}
    for line in path.read_text("utf-8").splitlines():
        if line.strip() and not line.startswith("#"):
            name, lines = line.rsplit(maxsplit=1)
            listed[name] = int(lines)
    return listed


def over(sizes: dict[str, int], listed: dict[str, int]) -> Iterator[str]:
    """What exceeds a hard limit without being listed, and what is listed without need."""
    for name, lines in sizes.items():
        limit = FUNCTION_MAX if "::" in name else FILE_MAX
        if lines > listed.get(name, limit):
            yield f"{name}: {lines} lines, at most {listed.get(name, limit)}"
    for name, allowed in listed.items():
        limit = FUNCTION_MAX if "::" in name else FILE_MAX
        now = sizes.get(name, 0)
        if now <= limit:
            yield f"tools/size_exceptions.txt: {name} no longer exceeds {limit} lines: remove it"
        elif now < allowed:
            yield f"tools/size_exceptions.txt: {name} has {now} lines now: lower its {allowed}"


def budget(what: str, sizes: Iterable[int], bounds: tuple[int, int]) -> Iterator[str]:
    """The budgets of the whole: median and ninth decile."""
    ordered = sorted(sizes)
    for label, share, bound in (("median", 0.5, bounds[0]), ("ninth decile", 0.9, bounds[1])):
        value = quantile(ordered, share)
        if value > bound:
            yield f"src/: the {label} of {what} is {value} lines, at most {bound}"


def quantile(ordered: list[int], share: float) -> int:
    """The smallest value that at least `share` of the values do not exceed; 0 of none."""
    return ordered[math.ceil(len(ordered) * share) - 1] if ordered else 0


def _of_source(sizes: dict[str, int]) -> list[int]:
    return sorted(lines for name, lines in sizes.items() if name.startswith(f"{BUDGETED}/"))


def _summary(sizes: dict[str, int]) -> str:
    ordered = _of_source(sizes)
    return f"median {quantile(ordered, 0.5)}, p90 {quantile(ordered, 0.9)}, longest {ordered[-1] if ordered else 0}"


if __name__ == "__main__":
    sys.exit(main())
