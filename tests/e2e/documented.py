"""Reads of the pages' tables what they document, and of the source what there is to document."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Final

from tests.e2e.walkthrough import ROOT

NOTHING: Final = object()  # the schema names no default
CODE: Final = re.compile(r"[a-z_]{5,}")
ROW: Final = re.compile(r"^\| `([^`]+)` \|(.*)\|$", re.MULTILINE)


def section(page: Path, heading: str = "") -> str:
    """The text of the page, or of what stands under `heading`."""
    text = page.read_text("utf-8")
    if not heading:
        return text
    _, found, rest = text.partition(f"\n{heading}\n")
    assert found, f"{page.name} has no {heading}"
    return rest.split("\n## ")[0]


def rows(page: Path, heading: str = "") -> dict[str, list[str]]:
    """The rows of all tables: what the first cell has in a code span → the other cells."""
    return {
        name: [cell.strip().replace("\\|", "|") for cell in re.split(r"(?<!\\)\|", rest)]
        for name, rest in ROW.findall(section(page, heading))
    }


def first_cells(page: Path, heading: str = "") -> list[str]:
    """The first cell of each row, in order."""
    return [name for name, _ in ROW.findall(section(page, heading))]


def codes(room: str) -> set[str]:
    """Every `code` that the source of a room can put into an answer or its log."""
    source = ROOT / "src" / "portico"
    trees = [ast.parse(path.read_text("utf-8")) for path in (source / room).rglob("*.py")]
    takers = [*trees, ast.parse((source / "errors.py").read_text("utf-8"))]
    places = {name: at for tree in takers for name, at in _takers(tree)}
    return {text for tree in trees for text in _given(tree, places) if CODE.fullmatch(text)}


def _takers(tree: ast.AST) -> Iterator[tuple[str, int]]:
    """Every function and class that takes a `code`, with the place of that argument in a call."""
    for node in ast.walk(tree):
        if isinstance(node, ast.ClassDef):
            made = next((each for each in node.body if _named(each, "__init__")), None)
            yield from ((node.name, at - 1) for at in _place(made))
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name != "__init__":
            bound = bool(node.args.args) and node.args.args[0].arg == "self"
            yield from ((node.name, at - bound) for at in _place(node))


def _named(node: ast.AST, name: str) -> bool:
    return isinstance(node, ast.FunctionDef) and node.name == name


def _place(node: ast.AST | None) -> list[int]:
    if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
        return []
    return [at for at, argument in enumerate(node.args.args) if argument.arg == "code"]


def _given(tree: ast.AST, places: dict[str, int]) -> Iterator[str]:
    """Texts that are given as a code: in a call, by an assignment, in the services' table of usual problems."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Call):
            name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if name in places:
                yield from _texts(node.args[places[name] : places[name] + 1])
            yield from _texts([keyword.value for keyword in node.keywords if keyword.arg == "code"])
        elif isinstance(node, ast.Assign):
            yield from _assigned(node)
        elif isinstance(node, ast.AnnAssign) and getattr(node.target, "id", "") == "KNOWN" and node.value is not None:
            yield from _usual(node.value)


def _assigned(node: ast.Assign) -> Iterator[str]:
    for target in node.targets:
        names = target.elts if isinstance(target, ast.Tuple) else [target]
        values = node.value.elts if isinstance(node.value, ast.Tuple) else [node.value]
        for name, value in zip(names, values, strict=False):
            if getattr(name, "attr", getattr(name, "id", "")) == "code":
                yield from _texts([value])


def _usual(value: ast.expr) -> Iterator[str]:
    if isinstance(value, ast.Dict):
        yield from _texts([each.elts[0] for each in value.values if isinstance(each, ast.Tuple)])


def _texts(nodes: list[ast.expr]) -> Iterator[str]:
    for node in nodes:
        yield from (
            each.value for each in ast.walk(node) if isinstance(each, ast.Constant) and isinstance(each.value, str)
        )


def settings(schema: dict[str, Any]) -> dict[str, Any]:
    """Every setting that is no section: its dotted key → its default, or NOTHING. The layers are `layers.NAME`."""
    found: dict[str, Any] = {}
    _walk(schema, schema, "", found)
    return found


def _walk(schema: dict[str, Any], part: Any, path: str, found: dict[str, Any]) -> None:
    for each in _branches(schema, part):
        for key, inner in each.get("properties", {}).items():
            here = f"{path}.{key}" if path else key
            if here.startswith("layers."):
                continue  # the keys of routes once more
            before = len(found)
            _walk(schema, inner, here, found)
            if len(found) == before and not any(known.startswith((f"{here}.", f"{here}[]")) for known in found):
                found[here] = inner.get("default", NOTHING)
        if isinstance(each.get("items"), dict):
            _walk(schema, each["items"], f"{path}[]", found)
        if isinstance(each.get("additionalProperties"), dict):
            _walk(schema, each["additionalProperties"], f"{path}.NAME", found)


def _branches(schema: dict[str, Any], part: Any) -> Iterator[dict[str, Any]]:
    if not isinstance(part, dict):
        return
    if "$ref" in part:
        target: Any = schema
        for key in part["$ref"].removeprefix("#/").split("/"):
            target = target[key]
        yield from _branches(schema, target)
        return
    yield part
    for word in ("anyOf", "oneOf", "allOf"):
        for option in part.get(word, []):
            yield from _branches(schema, option)
