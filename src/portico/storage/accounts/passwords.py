"""Passwords: Argon2id (RFC 9106), a few at a time in threads of their own, so that the event loop never waits."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from typing import Final, TypeVar

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from argon2.low_level import Type

from portico.errors import Busy

TIME: Final = 3  # passes
MEMORY: Final = 32 * 1024  # KiB; with THREADS at once, 64 MiB
THREADS: Final = 2
WAITING: Final = 64  # checks that may wait for a thread
# Checked where there is none, so that this takes as long. Whatever comes of it, the answer is no.
DUMMY: Final = f"$argon2id$v=19$m={MEMORY},t={TIME},p=1${'A' * 22}${'A' * 43}"
T = TypeVar("T")


def mark(kept: str | None) -> bytes:
    """By which it is seen that a password is another one; says nothing about what it is."""
    return sha256((kept or "").encode()).digest()


class Passwords:
    """Hashes and verifies; the threads start with the first call and end with `close`."""

    def __init__(self) -> None:
        self._hasher = PasswordHasher(TIME, MEMORY, 1, type=Type.ID)
        self._threads: ThreadPoolExecutor | None = None
        self._waiting = 0

    async def hash(self, password: str) -> str:
        """What is kept of a password: parameters, salt and hash."""
        return await self._run(lambda: self._hasher.hash(password))

    async def verify(self, kept: str | None, password: str) -> bool:
        """Whether this is the password; takes the same time when there is none (None). Busy when too many wait."""
        return await self._run(lambda: self._verify(kept or DUMMY, password)) and kept is not None

    def outdated(self, kept: str) -> bool:
        """Whether it was hashed with other parameters than today's."""
        return self._hasher.check_needs_rehash(kept)

    def close(self) -> None:
        """End the threads."""
        threads, self._threads = self._threads, None
        if threads is not None:
            threads.shutdown(wait=False, cancel_futures=True)

    def _verify(self, kept: str, password: str) -> bool:
        try:
            return self._hasher.verify(kept, password)
        except (VerificationError, InvalidHashError):
            return False

    async def _run(self, work: Callable[[], T]) -> T:
        if self._waiting >= WAITING:
            raise Busy("too many passwords are being checked at once")
        if self._threads is None:
            self._threads = ThreadPoolExecutor(THREADS, "portico-passwords")
        self._waiting += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._threads, work)
        finally:
            self._waiting -= 1
