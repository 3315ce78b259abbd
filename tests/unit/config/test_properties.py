"""Whatever the text, there are settings or a ConfigError; and importing the room is quick and light."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from portico import contracts
from portico.config import Document, compile_snapshot
from portico.config.load import load
from portico.errors import ConfigError, Problem

EXAMPLE = (Path(__file__).parents[3] / "portico.example.yaml").read_text(encoding="utf-8")
LINES = EXAMPLE.splitlines()
WORDS = """server port limits routes name paths upstream upstreams targets keys id sha256 auth by rate cors headers
request set origins layers public plugins log level tls timeouts idle policies <<"""
KEYS = WORDS.split()


class Text:
    """A source that is a text."""

    def __init__(self, text: str) -> None:
        self.text = text

    def read(self) -> Document:
        return Document("portico.yaml", self.text, Path("/nonexistent"), "1")


def attempt(text: str) -> None:
    """Settings that compile into a snapshot, or a ConfigError whose problems have lines."""
    problems: list[Problem] = []
    try:
        settings = load(Text(text), env={"A": "1", "HOME": "/h"})
        snapshot = compile_snapshot(settings, version=1).snapshot
    except ConfigError as error:
        problems = error.problems
    else:
        assert contracts.load(contracts.dump(snapshot)) == snapshot
        return
    lines = len(text.splitlines()) + 1
    assert problems
    assert all(1 <= problem.line <= lines and "\n" not in str(problem) for problem in problems)


scalars = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(max_size=8),
    st.sampled_from(
        ["${A}", "${B}", "/a", "/{x}/*", "none", "*", "a:b", "5/minute", "10s", "1KiB", "http://a", "\ud800", "\0"]
    ),
)
trees = st.recursive(
    scalars,
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(KEYS) | st.text(max_size=4), inner, max_size=5)
    ),
    max_leaves=25,
)


@given(st.text())
def test_any_text(text: str) -> None:
    attempt(text)


@given(
    st.lists(
        st.sampled_from([*KEYS, ": ", "- ", "\n", "  ", "{", "}", "[", "]", "&a", "*a", "!", "|", '"', "${", "#", "?"]),
        max_size=40,
    )
)
def test_any_pieces_of_yaml(pieces: list[str]) -> None:
    attempt("".join(pieces))


@given(st.dictionaries(st.sampled_from(KEYS), trees, max_size=6))
def test_any_tree(tree: dict[str, Any]) -> None:
    attempt(json.dumps(tree))


@given(st.data())
def test_any_change_to_the_example(data: st.DataObject) -> None:
    lines = list(LINES)
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(lines) - 1))
        change = data.draw(st.sampled_from(["drop", "double", "swap", "cut"]))
        if change == "drop":
            lines[at] = ""
        elif change == "double":
            lines.insert(at, lines[at])
        elif change == "swap":
            lines[at], lines[0] = lines[0], lines[at]
        else:
            lines[at] = lines[at][: data.draw(st.integers(0, 60))]
    attempt("\n".join(lines))


def test_importing_is_light() -> None:
    code = "import sys, portico.config; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"fastapi", "starlette", "typer", "rich", "structlog", "asyncio", "jsonschema"} & set(loaded)
    assert not any(name.startswith("portico.edge") for name in loaded)
