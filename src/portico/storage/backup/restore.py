"""Restoring a backup: first what it would do, then doing it; whatever was there before is kept beside.

Into SQLite, everything is prepared in a folder of its own inside the data directory, proven, and then moved into place.
Into PostgreSQL, all rows go in in one transaction, and only where there are none.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Self

from sqlalchemy.ext.asyncio import AsyncConnection, AsyncSession

from portico.errors import BackupError, VaultError
from portico.storage import migrations
from portico.storage.audit import note
from portico.storage.audit.trail import Trail
from portico.storage.backup import container, make, rows
from portico.storage.backup.container import SQLITE, Opened
from portico.storage.database import Database
from portico.storage.vault import Vault, binding, files, header, manage, recovery, slots

PAST: Final = "replaced-"  # folders with what a restore has replaced begin so
BESIDE: Final = ("", "-wal", "-shm", "-journal")


@dataclass(frozen=True, slots=True)
class Secret:
    """What opens the vault of a backup: whichever is at hand. A key file counts before the data directory's."""

    passphrase: str | None = field(default=None, repr=False)
    key_file: Path | None = None
    recovery_key: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Plan:
    """What a restore does: rows of each table, and the files that make way. `age` in seconds."""

    file: Path
    kind: str
    made: str
    age: float
    portico: str
    schema: str
    rows: dict[str, int]
    into: str
    opened_by: str
    replaces: list[str]


class Restore:
    """A backup that was opened and proven; `plan` tells what restoring it does, `run` does it."""

    def __init__(self, file: Path, opened: Opened, vault: Vault, url: str, secret: Secret) -> None:
        self.file = file
        self._opened = opened
        self._vault = vault
        self._head = vault.header
        self._data_dir = vault.data_dir
        self._url = url
        self._secret = secret
        self._path = vault.data_dir / url.removeprefix("sqlite:///") if url.startswith("sqlite:") else None

    @classmethod
    def open(cls, file: Path, data_dir: Path, url: str, secret: Secret) -> Self:
        """Read the backup, open its vault, prove every byte. Blocks. BackupError or VaultError; changes nothing."""
        opened = container.read(file)
        try:
            head = header.read(opened.header.vault.encode())
        except VaultError as error:
            raise container.damaged(file) from error
        vault = Vault(data_dir, head, _master(file, data_dir, head, secret))
        with make.told(file):
            container.prove(file, opened, vault.key("backup"))
        if opened.header.schema not in migrations.KNOWN:
            raise BackupError(f"{file} was made by a newer Portico: restore it with that one")
        return cls(file, opened, vault, url, secret)

    def plan(self) -> Plan:
        """What `run` will do."""
        head = self._opened.header
        age = datetime.now(UTC) - datetime.fromisoformat(head.made)
        return Plan(
            file=self.file,
            kind=head.kind,
            made=head.made,
            age=age.total_seconds(),
            portico=head.portico,
            schema=head.schema,
            rows={name: count for name, count in head.rows.items() if name != migrations.TABLE},
            into=str(self._path) if self._path else "PostgreSQL, the database of storage.url",
            opened_by=self._head.main.kind,
            replaces=[path.name for path in self._in_the_way()],
        )

    async def run(self, force: bool) -> Path | None:
        """Do it; where what was replaced is kept, if there was something. BackupError when there is, without `force`.

        Nobody else may use the data directory: the caller holds the gateway's lock.
        """
        there = self._in_the_way()
        if there and not force:
            names = ", ".join(path.name for path in there)
            kept = "--force restores, and keeps what is there beside it"
            raise BackupError(f"{self._data_dir} is not empty ({names}): {kept}")
        past: list[Path] = []
        trail = Trail(self._vault)

        async def own(connection: AsyncConnection) -> None:
            await binding.own(connection, self._vault.fingerprint)
            async with AsyncSession(connection) as session:
                self._note(session)
                await trail.settle(session, "postgresql")
                trail.committed(session)
            past.extend(await asyncio.to_thread(self._put, None, there))

        with make.told(self._data_dir), make.scratch(self._data_dir) as folder:
            if self._path is None:
                await self._fill(self._url, folder, own)
            else:
                ready = await self._prepare(folder)
                await self._record(ready, trail)
                past.extend(await asyncio.to_thread(self._put, ready, there))
        await trail.publish()
        return past[0] if past else None

    async def _record(self, ready: Path, trail: Trail) -> None:
        """Let the restored file say that it was restored."""
        database = Database(f"sqlite:///{ready}", self._data_dir, self._vault.key("database"))
        await database.open()
        try:
            database.trail = trail
            async with database.write() as session:
                self._note(session)
        finally:
            database.trail = None  # its head is published when the file has its place
            await database.close()

    def _note(self, session: AsyncSession) -> None:
        head = self._opened.header
        detail = {"file": str(self.file), "made": head.made, "rows": sum(head.rows.values())}
        note(session, "db.restore", ("database", head.kind), detail=detail)

    async def _prepare(self, folder: Path) -> Path:
        """The SQLite file in `folder`, proven."""
        await make.verify(self.file, self._vault, folder)
        checked, ready = folder / "verify.db", folder / "portico.db"
        if self._opened.header.kind == SQLITE:
            checked.rename(ready)
        else:
            checked.unlink()
            await self._fill(f"sqlite:///{ready}", folder)
        ready.chmod(0o600)
        with open(ready, "rb") as stream:
            os.fsync(stream.fileno())
        return ready

    async def _fill(self, url: str, folder: Path, last: rows.Last | None = None) -> None:
        head = self._opened.header
        # An SQLite body is brought up to date when it is opened; the rows of a dump are of their own schema.
        schema = migrations.HEAD if head.kind == SQLITE else head.schema
        async with rows.engine(url, folder, self._vault.key("database")) as engine, self._batches(folder) as batches:
            await rows.fill(engine, batches, schema, last)

    @asynccontextmanager
    async def _batches(self, folder: Path) -> AsyncIterator[AsyncIterator[rows.Batch]]:
        head = self._opened.header
        if head.kind == SQLITE:
            container.extract(self.file, self._opened, folder / "source.db")
            source = Database("sqlite:///source.db", folder, self._vault.key("database"))
            await source.open()
            try:
                async with rows.one_moment(source) as session:
                    yield rows.dump(session)
            finally:
                await source.close()
            return
        with open(self.file, "rb") as stream:
            stream.seek(self._opened.start)
            yield rows.in_turn(rows.read(stream, make.body_key(self._vault.key("backup"), head)))

    def _put(self, ready: Path | None, there: list[Path]) -> list[Path]:
        """Make way, move everything into place; where the old is. What fails on the way is taken back."""
        past = self._data_dir / f"{PAST}{datetime.now(UTC):%Y%m%dT%H%M%S.%fZ}"
        with files.locked(self._data_dir / slots.LOCK):
            if not there:
                self._set(ready)
                return []
            past.mkdir(mode=0o700)
            moved = {path: past / path.name for path in there}
            try:
                for path, kept in moved.items():
                    path.rename(kept)
                files.sync_folder(self._data_dir)
                self._set(ready)
            except BaseException:
                for path, kept in moved.items():
                    if kept.exists():
                        kept.rename(path)
                past.rmdir()
                raise
        return [past]

    def _set(self, ready: Path | None) -> None:
        """The vault comes before its database, its key file before both."""
        if self._head.main.kind == header.KEY_FILE and self._secret.key_file is not None:
            files.write(self._data_dir / slots.KEY_FILE, self._secret.key_file.read_bytes())
        names = (binding.name_in(self._data_dir, self._path),) if self._path else ()
        slots.save(self._data_dir, replace(self._head, databases=names))
        if self._path is not None and ready is not None:
            ready.rename(self._path)
            files.sync_folder(self._path.parent)

    def _in_the_way(self) -> list[Path]:
        """The files of the data directory that a restore would replace."""
        found = [self._data_dir / slots.FILE]
        if self._path is not None:
            found += [self._path.with_name(self._path.name + end) for end in BESIDE]
        if not self._keeps_key_file():
            found.append(self._data_dir / slots.KEY_FILE)
        return [path for path in found if os.path.lexists(path)]

    def _keeps_key_file(self) -> bool:
        """Whether the data directory's key file is the one that opens the backup."""
        return (
            self._head.main.kind == header.KEY_FILE and self._secret.key_file is None and not self._secret.recovery_key
        )


def _master(file: Path, data_dir: Path, head: header.Header, secret: Secret) -> bytes:
    """The master key of the backup's vault; VaultError when none of the secrets at hand opens it."""
    if secret.recovery_key:
        return manage.master_by(file, head, recovery.read(secret.recovery_key))
    by_file = head.main.kind == header.KEY_FILE and secret.key_file is not None
    passphrase = None if by_file else secret.passphrase  # that is the machine's, not the backup's
    return slots.master_of(file, head, slots.secret_of(data_dir, head, passphrase, secret.key_file))
