"""Files that only their owner may read, and that appear whole or not at all."""

from __future__ import annotations

import contextlib
import fcntl
import os
import stat
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from portico.errors import VaultError

LARGEST: Final = 64 * 1024  # bytes of vault.json or a key file
PATIENCE: Final = 30.0  # seconds to wait for whoever changes the vault
POLL: Final = 0.02


def write(path: Path, data: bytes) -> None:
    """Replace `path` by `data`, 0600, at once and for good: written beside, synced, renamed, the folder synced.

    VaultError when there is no room or no right; what was there stays.
    """
    beside = path.with_name(f".{path.name}.new")
    try:
        with contextlib.suppress(FileNotFoundError):
            beside.unlink()
        file = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
        try:
            os.fchmod(file, 0o600)
            _write_all(file, data)
            os.fsync(file)
        finally:
            os.close(file)
        beside.replace(path)
        sync_folder(path.parent)
    except OSError as error:
        with contextlib.suppress(OSError):
            beside.unlink()
        raise VaultError(f"{path} can't be written: {error.strerror}") from error


def read(path: Path, private: bool = False) -> bytes | None:
    """The whole file; None when there is none. Symbolic links, and what is no file, are refused.

    With `private`, so is a file that is another's, or that others may read or change.
    """
    try:
        file = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
    except FileNotFoundError:
        return None
    except OSError as error:
        raise VaultError(f"{path} can't be read: {error.strerror}") from error
    with open(file, "rb") as stream:
        _check(path, os.fstat(file), private)
        return stream.read(LARGEST + 1)


def exists(path: Path) -> bool:
    """Whether something has that name, also a link that leads nowhere."""
    return os.path.lexists(path)


def sync_folder(folder: Path) -> None:
    """Make a rename inside `folder` survive a power cut."""
    file = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(file)
    finally:
        os.close(file)


@contextlib.contextmanager
def locked(path: Path, patience: float = PATIENCE) -> Iterator[None]:
    """Hold the lock file `path`: one process at a time makes or changes the vault.

    VaultError after `patience` seconds.
    """
    try:
        file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    except OSError as error:
        raise VaultError(f"{path} can't be opened: {error.strerror}") from error
    try:
        _wait(file, path, time.monotonic() + patience)
        yield
    finally:
        os.close(file)


def _wait(file: int, path: Path, until: float) -> None:
    while True:
        try:
            return fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            if time.monotonic() >= until:
                raise VaultError(f"another process is changing the vault in {path.parent}") from error
        time.sleep(POLL)


def _write_all(file: int, data: bytes) -> None:
    rest = memoryview(data)
    while rest:
        rest = rest[os.write(file, rest) :]


def _check(path: Path, found: os.stat_result, private: bool) -> None:
    if not stat.S_ISREG(found.st_mode):
        raise VaultError(f"{path} is not a file")
    if found.st_size > LARGEST:
        raise VaultError(f"{path} is damaged: it is larger than {LARGEST} bytes")
    if private and found.st_uid not in (os.geteuid(), 0):
        raise VaultError(f"{path} belongs to another user: `chown` it to the user that runs Portico")
    if private and found.st_mode & 0o077:
        raise VaultError(f"{path} can be read or changed by others: `chmod 600 {path}`")
