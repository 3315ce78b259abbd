"""Does what a page tells its reader: saves its files, pastes its shell lines, looks for the output that it promises.

In a page (or one section of it), in order:

- ```yaml is saved as portico.yaml;
- ```sh is pasted into one shell that lives to the end of the page;
- ```text promises output of the ```sh before it: each line is there, in this order, where `…` stands for anything.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import uuid
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

import doc_pages
from portico.testing import free_port

ROOT = Path(__file__).resolve().parents[2]


def blocks(page: Path, heading: str = "") -> list[doc_pages.Block]:
    """The fenced blocks of the page, or of the section under `heading`."""
    found = doc_pages.read(page).blocks
    if not heading:
        return found
    lines = page.read_text("utf-8").splitlines()
    begin = lines.index(heading) + 1
    end = next((number for number, line in enumerate(lines, 1) if number > begin and line.startswith("## ")), 10**9)
    return [block for block in found if begin < block.line < end]


def missing(promised: str, output: str) -> str:
    """The first promised line that the output does not have in its place; empty when all are there."""
    left = [line.rstrip() for line in output.splitlines()]
    for promise in filter(None, (line.rstrip() for line in promised.splitlines())):
        pattern = re.compile(".*".join(re.escape(part) for part in promise.split("…")))
        at = next((index for index, line in enumerate(left) if pattern.fullmatch(line)), -1)
        if at < 0:
            return promise
        left = left[at + 1 :]
    return ""


class Walkthrough:
    """One reader, in a folder that looks like the repository after `make setup`, on ports of their own."""

    def __init__(self, folder: Path, data_dirs: Sequence[str] = ()) -> None:
        self.folder = folder
        self.words = {"8771": str(free_port()), "9000": str(free_port())}
        self.words |= {name: str(folder / Path(name).name) for name in data_dirs}
        self.where = folder
        self.shell: subprocess.Popen[str] | None = None

    def __enter__(self) -> Self:
        (self.folder / ".venv").symlink_to(sys.prefix)
        environment = {**os.environ, "HOME": str(self.folder), "XDG_RUNTIME_DIR": str(self.folder)}
        self.folder.chmod(0o700)
        self.shell = subprocess.Popen(
            ["bash", "--norc"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=self.folder,
            env=environment,
            start_new_session=True,
        )
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        assert self.shell is not None
        with suppress(ProcessLookupError):
            os.killpg(self.shell.pid, signal.SIGKILL)
        self.shell.wait(10)
        for record in self.folder.rglob("portico.pid"):  # a gateway that the page did not come to stop
            with suppress(ProcessLookupError, ValueError):
                os.kill(int(record.read_text()), signal.SIGTERM)

    def copy(self, source: Path) -> None:
        """A folder of the repository, with this reader's ports in it, where the page expects it."""
        target = self.folder / source.relative_to(ROOT)
        shutil.copytree(source, target)
        for file in target.rglob("*.yaml"):
            file.write_text(self.mine(file.read_text("utf-8")), "utf-8")

    def mine(self, text: str) -> str:
        """The text with this reader's ports and folders for those of the page."""
        for word, own in self.words.items():
            text = text.replace(word, own)
        return text

    def follow(self, steps: Sequence[doc_pages.Block]) -> None:
        """Do all of it; AssertionError tells the line of the page whose promise is not kept."""
        output = ""
        for block in steps:
            kind = block.info.partition(" ")[0]
            if kind == "yaml":
                self.where.joinpath("portico.yaml").write_text(self.mine(block.text), "utf-8")
            elif kind == "sh":
                output = self.paste(block.text)
            elif kind == "text":
                line = missing(self.mine(block.text), output)
                assert not line, f"line {block.line}: the output has no line {line!r} in its place:\n{output}"

    def paste(self, text: str) -> str:
        """What the shell printed; the shell's folder is where the next file is saved."""
        assert self.shell is not None
        assert self.shell.stdin is not None
        assert self.shell.stdout is not None
        mark = uuid.uuid4().hex
        self.shell.stdin.write(f"{self.mine(text)}\nprintf '\\n%s %s\\n' {mark} \"$PWD\"\n")
        self.shell.stdin.flush()
        lines: list[str] = []
        for line in self.shell.stdout:
            if line.startswith(mark):
                self.where = Path(line.partition(" ")[2].rstrip("\n"))
                return "".join(lines)
            lines.append(line)
        raise AssertionError(f"the shell ended: {''.join(lines)}")
