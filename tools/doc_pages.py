"""Reads of a Markdown file what tools/check_docs.py asks about: fenced blocks, code spans, links and headings."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

FENCE: Final = re.compile(r"\s*(```+|~~~+)\s*(.*)")
SPAN: Final = re.compile(r"(`+)(?!`)(.+?)(?<!`)\1(?!`)")
LINK: Final = re.compile(r"\[[^\]]*\]\(\s*<?([^)\s>]+)>?[^)]*\)|^\[[^\]]+\]:\s*(\S+)")
HEADING: Final = re.compile(r"#{1,6}\s+(.*?)\s*#*$")


@dataclass
class Block:
    """A fenced block: the line of its fence, what stands behind the fence, and its text."""

    line: int
    info: str
    text: str


@dataclass
class Page:
    """One Markdown file."""

    path: Path
    blocks: list[Block] = field(default_factory=list)
    spans: list[tuple[int, str]] = field(default_factory=list)
    links: list[tuple[int, str]] = field(default_factory=list)
    anchors: set[str] = field(default_factory=set)


def read(path: Path) -> Page:
    """The page at `path`."""
    page = Page(path)
    fence = ""
    for number, line in enumerate(path.read_text("utf-8").splitlines(), 1):
        mark = FENCE.fullmatch(line)
        if fence:
            if mark and mark[1].startswith(fence) and not mark[2]:
                fence = ""
            else:
                page.blocks[-1].text += line + "\n"
        elif mark:
            fence = mark[1]
            page.blocks.append(Block(number, mark[2].strip(), ""))
        else:
            _prose(page, number, line)
    return page


def _prose(page: Page, number: int, line: str) -> None:
    page.spans.extend((number, span[2].strip()) for span in SPAN.finditer(line))
    bare = SPAN.sub(lambda span: re.sub(r"[\[\]()]", " ", span[0]), line)
    page.links.extend((number, link[1] or link[2]) for link in LINK.finditer(bare))
    heading = HEADING.fullmatch(line)
    if heading:
        page.anchors.add(_anchor(heading[1], page.anchors))


def _anchor(heading: str, taken: set[str]) -> str:
    """The anchor that a heading gets: lower case, spaces as hyphens, no punctuation; numbered when taken."""
    text = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading).lower()
    slug = re.sub(r"\s", "-", re.sub(r"[^\w\- ]", "", text))
    count = next(n for n in range(len(taken) + 1) if (f"{slug}-{n}" if n else slug) not in taken)
    return f"{slug}-{count}" if count else slug
