"""Every example runs as its page says, on ports of its own."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from tests.e2e.walkthrough import ROOT, Walkthrough, blocks, missing

EXAMPLES = sorted(path.parent for path in (ROOT / "examples").glob("*/portico.yaml"))


def test_there_are_examples_and_the_index_lists_them_all() -> None:
    assert len(EXAMPLES) >= 3
    index = (ROOT / "examples" / "README.md").read_text("utf-8")
    assert sorted(re.findall(r"\]\(([\w-]+)/README\.md\)", index)) == [path.name for path in EXAMPLES]


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.name)
def test_the_example_answers_as_its_page_says(example: Path, tmp_path: Path) -> None:
    page = example / "README.md"
    steps = blocks(page)
    assert sum(block.info == "text" for block in steps) >= 5, "the page promises too little"
    data_dirs = sorted(set(re.findall(r"/tmp/portico-[\w-]+", page.read_text("utf-8"))))
    with Walkthrough(tmp_path, data_dirs) as reader:
        reader.copy(example)
        reader.follow(steps)


@pytest.mark.parametrize(
    ("promised", "output", "line"),
    [
        ("a\nc\n", "a\nb\nc\n", ""),
        ("a…c", "a b c\r\n", ""),
        ("c\na\n", "a\nb\nc\n", "a"),
        ("200\n200\n", "200\n429\n", "200"),
        ("a", "aa", "a"),
    ],
)
def test_a_promise_that_is_not_kept_is_told(promised: str, output: str, line: str) -> None:
    assert missing(promised, output) == line
