"""Folders with a package.json, installed once as on a clean checkout, in build/node so that the sources stay clean."""

from __future__ import annotations

import fcntl
import filecmp
import hashlib
import os
import shutil
import subprocess
from pathlib import Path
from typing import Final

import pytest
from tests.e2e.walkthrough import ROOT
from tests.services import missing

WHERE: Final = ROOT / "build" / "node"
LEAST: Final = 20  # the oldest node that the client takes
MADE: Final = shutil.ignore_patterns("node_modules", "dist", "build")


def installed(folder: str) -> Path:
    """A copy of a folder of the repository, at the same place below build/node, with what its lock file names."""
    if shutil.which("npm") is None or int(run(ROOT, "node", "--version").removeprefix("v").partition(".")[0]) < LEAST:
        missing(f"node {LEAST} or newer is not installed")
    target = WHERE / folder
    target.parent.mkdir(parents=True, exist_ok=True)
    with (WHERE / "lock").open("w") as lock:  # of test processes that run beside one another
        fcntl.flock(lock, fcntl.LOCK_EX)
        shutil.copytree(ROOT / folder, target, ignore=MADE, dirs_exist_ok=True, copy_function=_refresh)
        _once(target, "node_modules", [target / "package-lock.json"], "npm", "ci", "--no-audit", "--no-fund")
    return target


def built(folder: str) -> Path:
    """The same, with its `dist` made of the sources as they are."""
    target = installed(folder)
    with (WHERE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        _once(target, "dist", sorted((target / "src").rglob("*.ts")), "npm", "run", "build")
    return target


def _refresh(source: str, target: str) -> str:
    """Copies a file that has changed; another test may be reading one that has not."""
    if not Path(target).is_file() or not filecmp.cmp(source, target, shallow=False):
        shutil.copy2(source, target)
    return target


def _once(folder: Path, made: str, of: list[Path], *command: str) -> None:
    """Runs a command that makes the folder `made` out of these files, unless it has."""
    wanted = hashlib.sha256(b"".join(path.read_bytes() for path in of)).hexdigest()
    stamp = folder / made / ".portico"
    if not stamp.is_file() or stamp.read_text() != wanted:
        run(folder, *command)
        stamp.parent.mkdir(exist_ok=True)
        stamp.write_text(wanted)


def run(folder: Path, *command: str, **environment: str) -> str:
    """What a command printed; the test fails with all of it when the command does."""
    done = subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=110,
        check=False,
    )
    if done.returncode:
        pytest.fail(f"{' '.join(command)} ended with {done.returncode}:\n{done.stdout}\n{done.stderr}")
    return done.stdout
