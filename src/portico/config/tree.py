"""YAML text → a tree of nodes that know their lines. Nothing is typed or expanded here.

The parser's events are taken one by one (never its recursive composer), so that depth is bounded before memory is.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Final

import yaml

MAX_DEPTH: Final = 64
MAX_NODES: Final = 1_000_000  # after aliases are followed
MERGE: Final = "<<"


@dataclass(slots=True)
class Scalar:
    """A single value; `plain` when it was written without quotes and tag."""

    line: int
    text: str
    plain: bool


@dataclass(slots=True)
class Sequence:
    line: int
    items: list[Node] = field(default_factory=list)


@dataclass(slots=True)
class Mapping:
    """Keys in file order, each with its line; `repeated` are keys met again, with the line of the second time."""

    line: int
    entries: dict[str, tuple[int, Node]] = field(default_factory=dict)
    repeated: list[tuple[str, int]] = field(default_factory=list)
    bases: list[Mapping] = field(default_factory=list)  # what `<<` merges in once the mapping is complete


Node = Scalar | Sequence | Mapping


class TreeError(Exception):
    """The text is not a tree that can be used: the line, and what is wrong there."""

    def __init__(self, line: int, message: str) -> None:
        super().__init__(message)
        self.line = line
        self.message = message


class _Loader(getattr(yaml, "CSafeLoader", yaml.SafeLoader)):  # type: ignore[misc]
    """The safe loader with no guessing of types: `on` stays a word, and any tag seen was written by hand."""

    yaml_implicit_resolvers: dict[str, Any] = {}  # noqa: RUF012 - the loader's own class attribute, never changed


def compose(text: str) -> Node:
    """The tree of a YAML text with one document in it; TreeError otherwise."""
    composer = _Composer()
    try:
        for event in yaml.parse(text, Loader=_Loader):
            composer.take(event)
    except yaml.YAMLError as error:
        raise _explained(error, text) from None
    if composer.root is None:
        raise TreeError(1, "is empty; write {} to run on the defaults")
    return composer.root


def line_of(root: Node, path: tuple[str | int, ...]) -> int:
    """The line of the key or item at `path`, or of the nearest one above it that exists."""
    node, line = root, root.line
    for part in path:
        if isinstance(node, Mapping) and part in node.entries:
            line, node = node.entries[part]
        elif isinstance(node, Sequence) and isinstance(part, int) and part < len(node.items):
            node = node.items[part]
            line = node.line
        else:
            break
    return line


class _Composer:
    """Builds nodes from events with a stack of its own."""

    def __init__(self) -> None:
        self.root: Node | None = None
        self.stack: list[Sequence | Mapping] = []
        self.names: list[str] = []  # the anchors of what is on the stack
        self.keys: list[tuple[str, int] | None] = []  # of each open mapping: the key that waits for its value
        self.anchors: dict[str, Node] = {}
        self.documents = 0
        self.copied = 0

    def take(self, event: yaml.Event) -> None:
        line = event.start_mark.line + 1 if event.start_mark else 1
        if isinstance(event, yaml.ScalarEvent):
            self._tag(event.tag, "str", line)
            self._done(Scalar(line, event.value, event.implicit[0]), event.anchor)
        elif isinstance(event, yaml.SequenceStartEvent):
            self._tag(event.tag, "seq", line)
            self._open(Sequence(line), event.anchor)
        elif isinstance(event, yaml.MappingStartEvent):
            self._tag(event.tag, "map", line)
            self._open(Mapping(line), event.anchor)
        elif isinstance(event, yaml.SequenceEndEvent | yaml.MappingEndEvent):
            self._close()
        elif isinstance(event, yaml.AliasEvent):
            self._done(self._aliased(event.anchor or "", line), None)
        elif isinstance(event, yaml.DocumentStartEvent):
            self.documents += 1
            if self.documents > 1:
                raise TreeError(line, "a second YAML document begins here; there may be only one")

    def _tag(self, tag: str | None, kind: str, line: int) -> None:
        if tag not in (None, "!", f"tag:yaml.org,2002:{kind}"):
            raise TreeError(line, "YAML tags (!…) are not used here; write the plain value")

    def _open(self, node: Sequence | Mapping, anchor: str | None) -> None:
        if len(self.stack) >= MAX_DEPTH:
            raise TreeError(node.line, f"is nested more than {MAX_DEPTH} levels deep")
        if isinstance(node, Mapping | Sequence) and self._key_expected():
            raise TreeError(node.line, "a key must be a single word or text, not a list or mapping")
        self.stack.append(node)
        self.names.append(anchor or "")
        self.keys.append(None)

    def _close(self) -> None:
        self.keys.pop()
        node = self.stack.pop()
        if isinstance(node, Mapping):
            self._merge(node)
        self._done(node, self.names.pop() or None)

    def _key_expected(self) -> bool:
        return bool(self.stack) and isinstance(self.stack[-1], Mapping) and self.keys[-1] is None

    def _aliased(self, anchor: str, line: int) -> Node:
        node = self.anchors.get(anchor)
        if node is None:
            raise TreeError(line, "an alias (*…) must name an anchor (&…) that was completed before it")
        return node

    def _done(self, node: Node, anchor: str | None) -> None:
        if anchor:
            self.anchors[anchor] = node
        if not self.stack:
            self.root = node
            return
        parent = self.stack[-1]
        if isinstance(parent, Sequence):
            parent.items.append(node)
        elif self.keys[-1] is None:
            if not isinstance(node, Scalar):
                raise TreeError(node.line, "a key must be a single word or text, not a list or mapping")
            self.keys[-1] = (node.text, node.line)
        else:
            key, line = self.keys[-1]
            self.keys[-1] = None
            self._enter(parent, key, line, node)

    def _enter(self, parent: Mapping, key: str, line: int, node: Node) -> None:
        if key == MERGE:
            for base in node.items if isinstance(node, Sequence) else [node]:
                if not isinstance(base, Mapping):
                    raise TreeError(line, "<< merges a mapping or a list of mappings, nothing else")
                parent.bases.append(base)
        elif key in parent.entries:
            parent.repeated.append((key, line))
        else:
            parent.entries[key] = (line, node)

    def _merge(self, node: Mapping) -> None:
        """`<<: *base` (YAML 1.1 merge): the keys of `base` that the mapping does not have itself."""
        for base in node.bases:
            self.copied += len(base.entries) + 1
            if self.copied > MAX_NODES:
                raise TreeError(node.line, f"merges more than {MAX_NODES} keys in all")
            for key, entry in base.entries.items():
                node.entries.setdefault(key, entry)


def _explained(error: yaml.YAMLError, text: str) -> TreeError:
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    if mark is None:  # the reader's: a character that YAML does not allow
        bad = next((i for i, char in enumerate(text) if not char.isprintable() and char not in "\t\n\r\x85\ufeff"), 0)
        return TreeError(text.count("\n", 0, bad) + 1, "has a control character, which YAML does not allow")
    lines = text.split("\n")
    line = mark.line + 1
    shown = lines[mark.line] if mark.line < len(lines) else ""
    if "\t" in shown[: len(shown) - len(shown.lstrip())]:
        return TreeError(line, "is indented with a tab; YAML wants spaces")
    problem = getattr(error, "problem", None) or "is not YAML"
    context = getattr(error, "context", None)
    hint = "; inside {…} and […], put ${…} in quotes" if "${" in shown else ""
    return TreeError(line, f"is not YAML: {problem}" + (f" ({context})" if context else "") + hint)
