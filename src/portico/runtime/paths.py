"""Where a gateway keeps its things: the data directory, the short runtime directory, and the record that joins them.

The data directory (0700) holds `portico.pid`, `runtime.json` and `logs/`. Unix socket paths end at 107 bytes, so the
sockets live in a runtime directory of their own (0700): `$XDG_RUNTIME_DIR/portico-HASH8` or `/tmp/portico-UID-HASH8`.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, Final

from portico.errors import StartError

LONGEST_SOCKET_PATH: Final = 107  # bytes, of sun_path on Linux without its final NUL
LONGEST_NAME: Final = len("/services.sock")
RECORD: Final = "runtime.json"


@dataclass(frozen=True, slots=True)
class Record:
    """What a running gateway tells whoever looks for it; `started` in seconds since 1970, `config` absolute or ""."""

    pid: int
    control: str
    runtime_dir: str
    data_dir: str
    config: str
    listeners: tuple[str, ...]
    started: float
    version: str

    def write(self) -> None:
        """Leave the record in both directories; each appears whole or not at all."""
        text = json.dumps(asdict(self), indent=2) + "\n"
        for directory in (self.runtime_dir, self.data_dir):
            path = Path(directory, RECORD)
            beside = path.with_suffix(".new")
            beside.write_text(text)
            beside.replace(path)


def read_record(directory: Path) -> Record | None:
    """The record in `directory`; None when there is none that can be read."""
    try:
        loaded: Any = json.loads((directory / RECORD).read_text())
        values = {field.name: loaded[field.name] for field in fields(Record)}
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return Record(**{**values, "listeners": tuple(values["listeners"])})


def prepare_data_dir(path: Path) -> Path:
    """Make the data directory and its `logs`, 0700 when new; its absolute path."""
    data_dir = Path(os.path.abspath(path.expanduser()))
    try:
        for directory in (data_dir, data_dir / "logs"):
            if not directory.is_dir():
                directory.mkdir(mode=0o700, parents=True)
                directory.chmod(0o700)
        if data_dir.stat().st_uid == os.geteuid():
            data_dir.chmod(0o700)
    except OSError as error:
        message = f"the data directory {data_dir} can't be made: {error.strerror}"
        raise StartError(message, "choose another --data-dir") from error
    return data_dir


def runtime_bases() -> list[tuple[Path, str]]:
    """Where runtime directories are made, best first, and how their names begin there."""
    bases = []
    given = os.environ.get("XDG_RUNTIME_DIR", "")
    longest = len(os.fsencode(given)) + len("/portico-12345678") + LONGEST_NAME
    if given and _private(Path(given)) and longest <= LONGEST_SOCKET_PATH:
        bases.append((Path(given), "portico-"))
    bases.append((Path("/tmp"), f"portico-{os.geteuid()}-"))
    return bases


def make_runtime_dir(data_dir: Path) -> Path:
    """The runtime directory of `data_dir`, made if need be and surely ours (owner, 0700, no symbolic link)."""
    base, prefix = runtime_bases()[0]
    path = base / (prefix + hashlib.sha256(os.fsencode(data_dir)).hexdigest()[:8])
    with contextlib.suppress(FileExistsError):
        path.mkdir(mode=0o700)
    if not _private(path):  # in /tmp, someone else may have taken the name
        path = Path(tempfile.mkdtemp(prefix=prefix, dir=base))
    return path


def remove_runtime_dir(path: Path) -> None:
    shutil.rmtree(path, ignore_errors=True)


def records() -> Iterator[Record]:
    """The records of this user's gateways on this machine, also of those that died and left theirs."""
    for base, prefix in runtime_bases():
        for directory in sorted(base.glob(prefix + "*")):
            record = read_record(directory) if _private(directory) else None
            if record is not None:
                yield record


def _private(path: Path) -> bool:
    """Whether `path` is a directory, ours, that nobody else may enter."""
    try:
        found = path.lstat()
    except OSError:
        return False
    return stat.S_ISDIR(found.st_mode) and found.st_uid == os.geteuid() and not found.st_mode & 0o077
