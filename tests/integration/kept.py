"""A vault and its database for the tests of what is kept: filled, read, compared."""

from __future__ import annotations

import asyncio
import io
import json
import os
import subprocess
import sys
from collections.abc import Awaitable, Callable, Mapping
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from unittest import mock

from portico.storage.accounts.keys import Keys
from portico.storage.accounts.people import People
from portico.storage.accounts.records import NewKey
from portico.storage.accounts.signing import SigningKeys
from portico.storage.database import Database
from portico.storage.vault import Vault
from portico.storage.vault.binding import open_database

SQLITE = "sqlite:///portico.db"
PASSPHRASE = "correct horse battery"

T = TypeVar("T")


@dataclass(frozen=True)
class Contents:
    """What matters of a database: hashes of keys, people, and private signing keys as they were before sealing."""

    keys: frozenset[bytes]
    people: frozenset[str]
    signing: str


def with_database(
    data_dir: Path, url: str, passphrase: str | None, work: Callable[[Database, Vault], Awaitable[T]]
) -> T:
    """Open the vault and the database, do the work, close."""

    async def run() -> T:
        vault = Vault.open(data_dir, passphrase)
        database = Database(url, data_dir, vault.key("database"))
        await open_database(vault, database)
        try:
            return await work(database, vault)
        finally:
            await database.close()

    return asyncio.run(run())


def fill(data_dir: Path, url: str = SQLITE, passphrase: str | None = None, keys: int = 5) -> Contents:
    """Make a vault and a database with keys, a person and signing keys; what is in it."""
    if not url.startswith("sqlite:"):
        asyncio.run(Database(url, data_dir, None).upgrade())

    async def work(database: Database, vault: Vault) -> Contents:
        for number in range(keys):
            await Keys(database).issue(NewKey(f"key {number}", permissions=("a:read",)))
        await People(database).create("ada@example.com", None, ("admin",))
        signing = SigningKeys(database, vault)
        await signing.current()
        await signing.rotate(3600.0)
        return await contents(database, vault)

    return with_database(data_dir, url, passphrase, work)


def read(data_dir: Path, url: str = SQLITE, passphrase: str | None = None) -> Contents:
    """What is in the database."""
    return with_database(data_dir, url, passphrase, contents)


async def contents(database: Database, vault: Vault) -> Contents:
    """What is in the open database."""
    keys: set[bytes] = set()
    after: str | None = None
    while True:
        records, after = await Keys(database).list(after=after, limit=100)
        keys.update(record.sha256 for record in records)
        if after is None:
            break
    people, _ = await People(database).list()
    signing = sorted(json.dumps(jwk, sort_keys=True) for jwk in await SigningKeys(database, vault).all())
    return Contents(frozenset(keys), frozenset(person.email for person in people), "\n".join(signing))


@dataclass(frozen=True)
class Done:
    """How a command ended, and what it printed."""

    returncode: int
    stdout: str
    stderr: str


def portico(*arguments: str | Path, env: Mapping[str, str] | None = None) -> Done:
    """Run the command line, without a terminal: all of it, but in this process, which has loaded it already."""
    from portico.cli import main

    out, err = io.StringIO(), io.StringIO()
    with mock.patch.dict(os.environ, {**_environment(), **(env or {})}, clear=True), open(os.devnull) as nothing:
        patched = mock.patch.multiple(sys, argv=["portico", *map(str, arguments)], stdin=nothing)
        with patched, redirect_stdout(out), redirect_stderr(err):
            try:
                main()
            except SystemExit as ended:
                code = ended.code if isinstance(ended.code, int) else int(ended.code is not None)
    return Done(code, out.getvalue(), err.getvalue())


def portico_process(*arguments: str | Path, env: Mapping[str, str] | None = None) -> Done:
    """The same in a process of its own."""
    done = subprocess.run(
        [sys.executable, "-m", "portico", *map(str, arguments)],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        env={**_environment(), **(env or {})},
    )
    return Done(done.returncode, done.stdout, done.stderr)


def _environment() -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PORTICO_")}
    return {**kept, "PORTICO_COMPILED": "0"}


def answered(done: Done) -> Any:
    """The JSON document of a command that succeeded."""
    assert done.returncode == 0, (done.stdout, done.stderr)
    return json.loads(done.stdout)
