"""A tree of nodes → plain values, with aliases followed and `${ENV_VAR}` and `${file:PATH}` put in their places."""

from __future__ import annotations

import math
import re
from collections.abc import Mapping as Environment
from pathlib import Path
from typing import Any, Final

from portico.config.tree import MAX_DEPTH, MAX_NODES, Mapping, Node, Scalar, Sequence, TreeError

Path_ = tuple[str | int, ...]
Finding = tuple[Path_, str]

MAX_FILE: Final = 64 * 1024
_TOKEN: Final = re.compile(r"\$\$\{|\$\{([^{}]*)\}|\$\{")
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*\Z")
_INT: Final = re.compile(r"[-+]?[0-9]{1,40}\Z")
_FLOAT: Final = re.compile(r"[-+]?([0-9]+\.[0-9]*|\.[0-9]+|[0-9]+(?=[eE]))([eE][-+]?[0-9]{1,4})?\Z")
_WORDS: Final = {
    "": None, "~": None, "null": None, "Null": None, "NULL": None,
    "true": True, "True": True, "TRUE": True, "false": False, "False": False, "FALSE": False,
}  # fmt: skip


class Substituted(str):
    """A whole value that came out of `${…}`: text, or what YAML makes of that text, as the setting needs it."""

    __slots__ = ()


class Kept(list[Any]):
    """A list whose items remember where they stood in the file, so that bad ones can be taken out."""

    def __init__(self, items: list[Any]) -> None:
        super().__init__(items)
        self.indices = list(range(len(items)))


def typed(text: str) -> Any:
    """What YAML 1.2's core schema makes of plain text: null, a truth value, a number, or the text itself."""
    if text in _WORDS:
        return _WORDS[text]
    if _INT.match(text):
        return int(text)
    if _FLOAT.match(text) and math.isfinite(float(text)):
        return float(text)
    return text


def untangled(value: Any) -> Any:
    """A free-form value as plain JSON types, with substituted text typed as YAML would."""
    if isinstance(value, dict):
        return {key: untangled(item) for key, item in value.items()}
    if isinstance(value, list):
        return [untangled(item) for item in value]
    return typed(str(value)) if isinstance(value, Substituted) else value


class Expander:
    """Makes plain values of one tree; `findings` has what could not be had, `secrets` what must not be shown."""

    def __init__(self, base: Path, env: Environment[str, str]) -> None:
        self.base = base
        self.env = env
        self.findings: list[Finding] = []
        self.failed: set[Path_] = set()
        self.secrets: set[str] = set()
        self.nodes = 0

    def expand(self, node: Node, path: Path_ = ()) -> Any:
        """The value of a node. Raises TreeError when aliases make more of it than may be."""
        self.nodes += 1
        if self.nodes > MAX_NODES or len(path) > MAX_DEPTH:
            raise TreeError(node.line, f"aliases make more than {MAX_NODES} values or {MAX_DEPTH} levels of this file")
        if isinstance(node, Scalar):
            return self._scalar(node, path)
        if isinstance(node, Sequence):
            return Kept([self.expand(item, (*path, i)) for i, item in enumerate(node.items)])
        return self._mapping(node, path)

    def _mapping(self, node: Mapping, path: Path_) -> dict[str, Any]:
        for key, line in node.repeated:
            first = node.entries[key][0]
            self.findings.append(((*path, key), f"is given twice, in line {first} and in line {line}; keep one"))
        return {key: self.expand(item, (*path, key)) for key, (_, item) in node.entries.items()}

    def _scalar(self, node: Scalar, path: Path_) -> Any:
        if "${" not in node.text:
            return typed(node.text) if node.plain else node.text
        try:
            parts = self._parts(node.text)
        except LookupError as error:
            self.findings.append((path, str(error.args[0])))
            self.failed.add(path)
            return None
        text = "".join(part for part, _ in parts)
        self.secrets.update(part for part, secret in parts if secret)
        whole = len(parts) == 1 and parts[0][1]
        return Substituted(text) if whole else text

    def _parts(self, text: str) -> list[tuple[str, bool]]:
        """The pieces of a text, each with whether it was substituted; empty literal ones are left out."""
        parts: list[tuple[str, bool]] = []
        end = 0
        for token in _TOKEN.finditer(text):
            parts.append((text[end : token.start()], False))
            end = token.end()
            if token.group() == "$${":
                parts.append(("${", False))
            else:
                parts.append((self._value(token.group(1)), True))
        parts.append((text[end:], False))
        return [part for part in parts if part[0] or part[1]]

    def _value(self, name: str | None) -> str:
        if name and name.startswith("file:"):
            return self._file(name[len("file:") :])
        if not name or not _NAME.match(name):
            raise LookupError("has a ${…} that can't be read; write ${NAME}, ${file:PATH}, or $${ for a plain ${")
        value = self.env.get(name)
        if value is None:
            raise LookupError(f"needs the environment variable {name}, which is not set")
        return value

    def _file(self, name: str) -> str:
        """A file's text without its last line end; relative to the configuration's folder."""
        try:
            with (self.base / name).open("rb") as file:
                raw = file.read(MAX_FILE + 1)
            text = raw.decode("utf-8")
        except UnicodeDecodeError:
            raise LookupError(f"needs the file {name!r}, which is not UTF-8 text") from None
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or "it has no such name"
            raise LookupError(f"needs the file {name!r}, which can't be read: {reason}") from None
        if len(raw) > MAX_FILE:
            raise LookupError(f"needs the file {name!r}, which is larger than {MAX_FILE // 1024} KiB")
        return text.removesuffix("\n").removesuffix("\r")
