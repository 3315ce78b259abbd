"""`portico vault …` and what becomes of a gateway whose vault, or database, is not as it was."""

from __future__ import annotations

import contextlib
import os
import pty
import shutil
import sys
from pathlib import Path

import pytest
from tests.integration import kept
from tests.integration.kept import PASSPHRASE, SQLITE, answered, portico, portico_process

from portico.errors import StorageError, VaultError
from portico.storage.vault import Vault
from portico.testing import GatewayHarness

OTHER = "another horse battery"
OPEN = {"PORTICO_PASSPHRASE": PASSPHRASE}


def files(folder: Path) -> dict[str, bytes]:
    return {
        path.name: path.read_bytes() for path in sorted(folder.iterdir()) if path.is_file() and path.suffix != ".lock"
    }


def refused(folder: Path, sentence: str, url: str = SQLITE, passphrase: str | None = None) -> None:
    """Opening is refused with that sentence, and no file is changed or made."""
    before = files(folder)
    with pytest.raises((VaultError, StorageError), match=sentence) as caught:
        kept.read(folder, url, passphrase)
    assert "\n" not in str(caught.value)
    assert files(folder) == before


def test_a_vault_without_its_database(tmp_path: Path) -> None:
    kept.fill(tmp_path)
    (tmp_path / "portico.db").unlink()
    refused(tmp_path, "portico.db, the database of this vault, is gone: `portico db restore`")


def test_a_database_without_its_vault(tmp_path: Path) -> None:
    kept.fill(tmp_path)
    for name in ("vault.json", "vault.key"):
        (tmp_path / name).unlink()
    refused(tmp_path, "vault.json, which opens it, is missing")


def test_the_database_of_another_vault(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        kept.fill(tmp_path / name, keys=1)
    shutil.copy(tmp_path / "a" / "portico.db", tmp_path / "b" / "portico.db")
    refused(tmp_path / "b", "not one that this vault's key opens")


def test_a_postgresql_database_of_another_vault(tmp_path: Path, postgres_url: str) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "b").mkdir()
    before = kept.fill(tmp_path / "a", postgres_url)
    Vault.open(tmp_path / "b", None)
    refused(tmp_path / "b", "belongs to another vault", postgres_url)
    for name in ("vault.json", "vault.key"):  # as another machine's gateway on the same database has it
        shutil.copy(tmp_path / "a" / name, tmp_path / "b" / name)
    assert kept.read(tmp_path / "b", postgres_url) == before


def test_a_passphrase_from_beginning_to_end(tmp_path: Path) -> None:
    """Set, changed, lost, recovered; the keys that were made stay."""
    where = ["--data-dir", tmp_path, "--json"]
    made = answered(portico("keys", "create", "--name", "a", *where, env=OPEN))
    assert answered(portico("vault", "status", *where, env=OPEN))["opens"] is True
    recovery = answered(portico("vault", "export-recovery", *where, env=OPEN))["recovery_key"]

    short = portico("vault", "change-passphrase", *where, env={**OPEN, "PORTICO_NEW_PASSPHRASE": "short"})
    assert (short.returncode, "at least 12" in short.stdout) == (1, True)
    new = {"PORTICO_NEW_PASSPHRASE": OTHER}
    assert answered(portico("vault", "change-passphrase", *where, env={**OPEN, **new}))["opened_by"] == "passphrase"
    wrong = portico("vault", "status", *where, env=OPEN)
    assert (wrong.returncode, "passphrase is wrong" in wrong.stdout) == (1, True)

    lost = {"PORTICO_RECOVERY_KEY": recovery, "PORTICO_NEW_PASSPHRASE": "a third horse battery"}
    answered(portico("vault", "recover", *where, env=lost))
    listed = answered(portico("keys", "list", *where, env={"PORTICO_PASSPHRASE": "a third horse battery"}))
    assert [key["id"] for key in listed["items"]] == [made["id"]]


def test_nobody_is_asked_without_a_terminal(tmp_path: Path) -> None:
    Vault.open(tmp_path, PASSPHRASE)
    for command, named in (
        (["change-passphrase"], "PORTICO_NEW_PASSPHRASE"),
        (["export-recovery"], "PORTICO_PASSPHRASE"),
        (["recover"], "PORTICO_RECOVERY_KEY"),
    ):
        env = OPEN if command == ["change-passphrase"] else {}
        done = portico("vault", *command, "--data-dir", tmp_path, env=env)
        assert done.returncode == 1
        assert f"set {named}" in done.stderr
        assert done.stderr.count("\n") <= 2


def test_where_there_is_no_vault_none_is_made(tmp_path: Path) -> None:
    for command in ("status", "change-passphrase", "rekey", "export-recovery", "recover"):
        done = portico("vault", command, "--data-dir", tmp_path)
        assert done.returncode == 1
        assert "there is no vault" in done.stderr
    assert list(tmp_path.iterdir()) == []


def test_beside_a_running_gateway(tmp_path: Path) -> None:
    """Looking, backing up and a recovery key go on; what needs the vault for itself says that it must be stopped."""
    with GatewayHarness({}, env=OPEN) as gateway:
        where = ["--data-dir", gateway.data_dir, "--json"]
        key = answered(portico("keys", "create", "--name", "a", *where))["id"]
        before = files(gateway.data_dir)["vault.json"]
        assert answered(portico("vault", "status", *where, env=OPEN))["opens"] is True
        report = answered(portico("db", "check", *where))
        assert (report["ok"], report["rows"]["api_keys"] >= 1) == (True, True)
        file = tmp_path / "one.backup"
        assert answered(portico("db", "backup", file, *where))["rows"]["api_keys"] >= 1
        here = answered(portico("db", "backup", tmp_path / "two.backup", *where, env=OPEN))
        assert here["rows"]["api_keys"] >= 1
        new = {**OPEN, "PORTICO_NEW_PASSPHRASE": OTHER, "PORTICO_RECOVERY_KEY": "0" * 65}
        for command in (
            ["vault", "change-passphrase"],
            ["vault", "rekey"],
            ["vault", "recover"],
            ["db", "restore", file],
        ):
            done = portico(*command, *where, env=OPEN if command[0] == "db" else new)
            assert done.returncode == 5, done.stdout
            assert "already runs a gateway" in done.stdout
        assert files(gateway.data_dir)["vault.json"] == before
        answered(portico("vault", "export-recovery", *where, env=OPEN))
    where = ["--data-dir", tmp_path / "new", "--json"]
    answered(portico("db", "restore", file, *where, env=OPEN))
    assert key in [each["id"] for each in answered(portico("keys", "list", *where, env=OPEN))["items"]]


def test_a_gateway_with_a_wrong_passphrase_does_not_start(tmp_path: Path) -> None:
    kept.fill(tmp_path, SQLITE, PASSPHRASE)
    before = files(tmp_path)
    config = tmp_path / "portico.yaml"
    config.write_text("server: {port: 0}\n")
    done = portico_process("up", "-c", config, "--data-dir", tmp_path, env={"PORTICO_PASSPHRASE": OTHER})
    config.unlink()
    assert done.returncode == 1
    assert "the passphrase is wrong" in done.stderr
    assert OTHER not in done.stderr + done.stdout
    assert {name: text for name, text in files(tmp_path).items() if name in before} == before


def at_terminal(folder: Path, *typed: str) -> tuple[int, str]:
    """`portico vault change-passphrase` at a terminal where those lines are typed; its exit code and what was shown."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.execve(
            sys.executable,
            [sys.executable, "-m", "portico", "vault", "change-passphrase", "--data-dir", str(folder)],
            {"PATH": os.environ["PATH"], "HOME": str(folder), "PORTICO_COMPILED": "0"},
        )
    shown = b""
    waiting = list(typed)
    with contextlib.suppress(OSError):  # the terminal is gone when the command has ended
        while chunk := os.read(terminal, 1000):
            shown += chunk
            if waiting and shown.count(b": ") > len(typed) - len(waiting):
                os.write(terminal, waiting.pop(0).encode() + b"\n")
    _, status = os.waitpid(pid, 0)
    os.close(terminal)
    return os.waitstatus_to_exitcode(status), shown.decode()


def test_asked_at_the_terminal(tmp_path: Path) -> None:
    master = Vault.open(tmp_path, PASSPHRASE).master
    code, shown = at_terminal(tmp_path, PASSPHRASE, OTHER, OTHER + "!")
    assert code == 1
    assert "the two passphrases differ" in shown
    code, shown = at_terminal(tmp_path, PASSPHRASE, OTHER, OTHER)
    assert code == 0, shown
    assert PASSPHRASE not in shown
    assert OTHER not in shown
    assert Vault.open(tmp_path, OTHER).master == master
