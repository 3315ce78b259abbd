"""No secret is in clear in what lies on a disk: not in SQLite's files, not in a column of PostgreSQL."""

from __future__ import annotations

import asyncio
import os
from base64 import urlsafe_b64decode
from pathlib import Path
from typing import Any

import pytest
from tests.unit.storage.kit import PASSWORD, Store

from portico.storage.accounts import NewKey
from portico.storage.commands import COMMANDS

MARK = "Persimmon-Quarterdeck"  # a word that no random bytes have


def fill(store: Store) -> list[str]:
    """Write something of every kind; the secrets among it."""
    record, key = store.run(store.keys.issue(NewKey(MARK, permissions=(f"{MARK}:read",))))
    _, rotated = store.run(store.keys.rotate(record.id, 60))
    ann = store.run(store.people.create(f"{MARK}@example.com", PASSWORD, name=MARK))
    _, refresh = store.run(store.sessions.begin(ann, agent=MARK))
    _, refreshed = store.run(store.sessions.refresh(refresh))
    _, invitation = store.run(store.invitations.create(email=f"{MARK}@example.com"))
    private = store.run(store.signing.current("EdDSA"))["d"]
    shared = store.run(store.signing.current("HS256"))["k"]
    token = store.run(COMMANDS["token.create"](store.db, store.vault, {"roles": ["admin"], "name": MARK}))["token"]
    return [key, rotated, PASSWORD, refresh, refreshed, invitation, private, shared, token.rpartition(".")[2]]


def forms(secret: str) -> list[bytes]:
    """A secret as it may be written: as it is, without its prefix, decoded."""
    body = secret.split("_", 1)[-1] if secret[:3] in ("pk_", "pr_", "pi_") else secret
    found = [secret.encode(), body.encode(), body.encode().hex().encode()]
    if " " not in secret and len(secret) in (43, 46):
        found.append(urlsafe_b64decode(body[:43] + "="))
    return found


def kept_in(folder: Path) -> dict[Path, bytes]:
    """Every file but that of the key."""
    return {path: path.read_bytes() for path in folder.rglob("*") if path.is_file() and path.name != "vault.key"}


def test_the_files_of_sqlite_tell_nothing(tmp_path: Path) -> None:
    before = _open_files()
    with Store("sqlite:///portico.db", tmp_path) as store:
        secrets = fill(store)
        names = {path.name for path in tmp_path.iterdir()}
        assert {"portico.db", "portico.db-wal", "portico.db-shm"} <= names
        on_disk = {
            path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file() and path.name != "vault.key"
        }
        elsewhere = [path for path in _open_files() - before if not path.startswith(str(tmp_path))]
        assert [path for path in elsewhere if "(deleted)" in path or path.startswith(("/tmp", "/var"))] == []
    on_disk |= kept_in(tmp_path)
    everything = b"\n".join(on_disk.values())
    for secret in secrets:
        for form in forms(secret):
            assert form not in everything
    for word in (MARK, MARK.lower(), "SQLite format 3", "CREATE TABLE", "api_keys", "argon2", "default"):
        for path, data in on_disk.items():
            if path.name.startswith("portico.db") and not path.name.endswith((".lock", "-shm")):
                assert word.encode() not in data, (word, path.name)
                assert word.encode("utf-16-le") not in data


def test_the_columns_of_postgresql_tell_no_secret(postgres_url: str, tmp_path: Path) -> None:
    store = Store(postgres_url, tmp_path)
    store.run(store.db.upgrade())
    with store:
        secrets = fill(store)
        dump = asyncio.run(_dump(postgres_url))
    assert MARK.encode() in dump, "the dump shows what there is"
    for secret in secrets:
        for form in forms(secret):
            assert form not in dump
            assert form.hex().encode() not in dump


async def _dump(url: str) -> bytes:
    """Every row of every table, as text and as bytes."""
    import asyncpg

    connection = await asyncpg.connect(url)
    try:
        tables = await connection.fetch("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
        parts: list[bytes] = []
        for (table,) in tables:
            rows: list[Any] = await connection.fetch(f'SELECT * FROM "{table}"')
            for row in rows:
                parts += [value if isinstance(value, bytes) else str(value).encode() for value in row.values()]
        return b"\n".join(parts)
    finally:
        await connection.close()


def _open_files() -> set[str]:
    found = set()
    for link in Path("/proc/self/fd").iterdir():
        try:
            found.add(os.readlink(link))
        except OSError:
            continue  # the descriptor of this very listing
    return found


@pytest.mark.parametrize("what", ["database", "vault", "record"])
def test_no_repr_tells_a_key(tmp_path: Path, what: str) -> None:
    with Store("sqlite:///portico.db", tmp_path) as store:
        secret = store.vault.key("database")
        record, key = store.run(store.keys.issue(NewKey("a")))
        shown = repr({"database": store.db, "vault": store.vault, "record": record}[what])
    assert secret.hex() not in shown
    assert repr(secret) not in shown
    assert key not in shown
