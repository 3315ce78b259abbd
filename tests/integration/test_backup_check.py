"""`portico db check` and `portico db upgrade`: what is well is said to be, and what is not is told in sentences."""

from __future__ import annotations

from pathlib import Path

from tests.integration import kept
from tests.integration.kept import SQLITE, answered, portico

from portico.storage.database import Database
from portico.storage.vault import Vault


def config(folder: Path, url: str) -> Path:
    file = folder / "portico.yaml"
    file.write_text(f"storage: {{url: '{url}'}}\n")
    return file


def test_a_whole_database(tmp_path: Path, database_url: str) -> None:
    kept.fill(tmp_path, database_url)
    done = portico("db", "check", "-c", config(tmp_path, database_url), "--data-dir", tmp_path)
    assert done.returncode == 0, done.stderr
    assert ": whole" in done.stdout
    assert "api_keys 5" in done.stdout
    assert "3 fields opened" in done.stdout


def test_a_damaged_page(tmp_path: Path) -> None:
    kept.fill(tmp_path)
    path = tmp_path / "portico.db"
    size = path.stat().st_size
    for place in (100, size // 2, size - 100):
        right = path.read_bytes()
        path.write_bytes(right[:place] + bytes((right[place] ^ 1,)) + right[place + 1 :])
        done = portico("db", "check", "--json", "--data-dir", tmp_path)
        assert done.returncode == 1, done.stderr
        assert '"ok": false' in done.stdout
        assert "Traceback" not in done.stderr
        path.write_bytes(right)
    assert answered(portico("db", "check", "--json", "--data-dir", tmp_path))["ok"]


def test_a_sealed_field_that_was_altered(tmp_path: Path, database_url: str) -> None:
    kept.fill(tmp_path, database_url)

    async def alter(database: Database, vault: Vault) -> None:
        from sqlalchemy import update

        from portico.storage.tables import SigningKeyRow

        async with database.write() as session:
            await session.execute(update(SigningKeyRow).values(sealed=vault.seal(b"another row's", "signing_keys/x")))

    kept.with_database(tmp_path, database_url, None, alter)
    done = portico("db", "check", "-c", config(tmp_path, database_url), "--data-dir", tmp_path)
    assert done.returncode == 1
    assert done.stdout.count("a sealed field can't be opened") == 2


def test_nothing_is_made_by_looking(tmp_path: Path) -> None:
    done = portico("db", "check", "--data-dir", tmp_path)
    assert done.returncode == 1
    assert "there is no vault" in done.stderr
    Vault.open(tmp_path, None)
    done = portico("db", "check", "--data-dir", tmp_path)
    assert done.returncode == 1
    assert "portico.db is missing" in done.stdout
    assert not (tmp_path / "portico.db").exists()


def test_upgrade(tmp_path: Path, postgres_url: str) -> None:
    where = ["-c", config(tmp_path, postgres_url), "--data-dir", tmp_path]
    done = portico("keys", "list", *where)
    assert done.returncode == 1
    assert "run `portico db upgrade`" in done.stderr
    first = answered(portico("db", "upgrade", "--json", *where))
    assert first["before"] == ""
    second = answered(portico("db", "upgrade", "--json", *where))
    assert second == {"before": first["after"], "after": first["after"]}
    assert answered(portico("keys", "list", "--json", *where))["items"] == []


def test_upgrade_of_sqlite(tmp_path: Path) -> None:
    first = answered(portico("db", "upgrade", "--json", "--data-dir", tmp_path))
    assert first["before"] == ""
    assert answered(portico("db", "upgrade", "--json", "--data-dir", tmp_path))["before"] == first["after"]
    kept.read(tmp_path, SQLITE)
