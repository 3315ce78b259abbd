"""Where settings come from: one interface, with a version. Today a file."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Protocol

from portico.errors import ConfigError, Problem

MAX_BYTES: Final = 16 * 1024 * 1024
WHOLE: Final = "(file)"  # the path of a problem that is not about one key


@dataclass(frozen=True, slots=True)
class Document:
    """The text of a configuration: its name for messages, and the folder that relative paths are relative to.

    `version` changes whenever the text does.
    """

    name: str
    text: str
    base: Path
    version: str


class Source(Protocol):
    """Anything that settings can be read from."""

    def read(self) -> Document:
        """The document as it is now; ConfigError when it can't be had."""
        ...


class FileSource:
    """A YAML file of at most 16 MiB of UTF-8."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> Document:
        raw = self._bytes()
        try:
            text = raw.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            line = raw.count(b"\n", 0, error.start) + 1
            raise self._refused(line, "is not UTF-8 text; save the file as UTF-8") from None
        return Document(str(self.path), text, self.path.absolute().parent, hashlib.sha256(raw).hexdigest()[:16])

    def _bytes(self) -> bytes:
        try:
            with self.path.open("rb") as file:
                raw = file.read(MAX_BYTES + 1)
        except FileNotFoundError:
            raise self._refused(1, "there is no such file") from None
        except (OSError, ValueError) as error:
            reason = getattr(error, "strerror", None) or str(error)
            raise self._refused(1, f"can't be read: {reason}") from None
        if len(raw) > MAX_BYTES:
            raise self._refused(1, f"is larger than {MAX_BYTES // 1024 // 1024} MiB, the most that is read")
        return raw

    def _refused(self, line: int, message: str) -> ConfigError:
        return ConfigError([Problem(str(self.path), line, WHOLE, message)])


class Defaults:
    """No file at all: every setting has its default."""

    def read(self) -> Document:
        return Document("defaults", "{}", Path.cwd(), "defaults")
