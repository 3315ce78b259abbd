"""Where each setting stands: paths → files and lines, and messages that show no secret."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Final

from portico.config.source import WHOLE
from portico.config.substitute import Finding, Path_
from portico.config.tree import Node, line_of
from portico.errors import Problem

_PLAIN: Final = re.compile(r"[A-Za-z0-9_/*{}-]{1,80}\Z", re.ASCII)
_SHORTEST_SECRET: Final = 4  # shorter ones are not secrets, and masking them would garble messages
COMMAND_LINE: Final = "command line"


class Places:
    """The document that settings were read from, and what of it came from elsewhere."""

    def __init__(
        self,
        name: str = "defaults",
        version: str = "defaults",
        root: Node | None = None,
        secrets: Iterable[str] = (),
        overridden: Iterable[Path_] = (),
        folder: Path | None = None,
    ) -> None:
        self.folder = folder or Path.cwd()
        self.name = name
        self.version = version
        self.root = root
        self.secrets = sorted((text for text in secrets if len(text) >= _SHORTEST_SECRET), key=len, reverse=True)
        self.overridden = frozenset(overridden)

    def problem(self, path: Path_, message: str) -> Problem:
        """The problem at `path`; substituted text is masked should a message contain it."""
        for secret in self.secrets:
            message = message.replace(secret, "***")
        if any(path[: len(over)] == over for over in self.overridden):
            return Problem(COMMAND_LINE, 1, dotted(path), message)
        return Problem(self.name, line_of(self.root, path) if self.root else 1, dotted(path), message)

    def problems(self, findings: Iterable[Finding]) -> list[Problem]:
        """All of them once each, by line."""
        found = dict.fromkeys(self.problem(path, message) for path, message in findings)
        return sorted(found, key=lambda problem: (problem.file, problem.line))


def dotted(path: Path_) -> str:
    """`("routes", 2, "limits", 0)` as `routes[2].limits[0]`; unusual keys are quoted and cut to 80 characters."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            text += ("." if text else "") + (part if _PLAIN.match(part) else json.dumps(part[:80]))
    return text or WHOLE
