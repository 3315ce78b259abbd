"""Changing what opens a vault: the master key stays, and no failure on the way loses it."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from pathlib import Path

import pytest

from portico.errors import VaultError
from portico.storage.vault import Vault, files, manage, recovery

OLD = "correct horse battery"
NEW = "another horse battery"


def test_from_one_passphrase_to_another(tmp_path: Path) -> None:
    master = Vault.open(tmp_path, OLD).master
    assert manage.change(tmp_path, OLD, NEW) == "passphrase"
    assert Vault.open(tmp_path, NEW).master == master
    with pytest.raises(VaultError, match="passphrase is wrong"):
        Vault.open(tmp_path, OLD)


def test_from_a_key_file_to_a_passphrase_and_back(tmp_path: Path) -> None:
    master = Vault.open(tmp_path, None).master
    assert manage.change(tmp_path, None, NEW) == "passphrase"
    assert not (tmp_path / "vault.key").exists()
    assert Vault.open(tmp_path, NEW).master == master
    assert manage.change(tmp_path, NEW, None) == "key file"
    assert (tmp_path / "vault.key").stat().st_mode & 0o777 == 0o600
    assert Vault.open(tmp_path, None).master == master
    with pytest.raises(VaultError, match="already"):
        manage.change(tmp_path, None, None)


def test_what_is_refused_changes_nothing(tmp_path: Path) -> None:
    Vault.open(tmp_path, OLD)
    before = (tmp_path / "vault.json").read_bytes()
    with pytest.raises(VaultError, match="passphrase is wrong"):
        manage.change(tmp_path, NEW, NEW)
    with pytest.raises(VaultError, match="at least 12"):
        manage.change(tmp_path, OLD, "short")
    with pytest.raises(VaultError, match="no recovery key"):
        manage.recover(tmp_path, recovery.write(os.urandom(32)), NEW)
    assert (tmp_path / "vault.json").read_bytes() == before


def test_the_recovery_key_opens_what_the_passphrase_no_longer_does(tmp_path: Path) -> None:
    master = Vault.open(tmp_path, OLD).master
    key = manage.export_recovery(tmp_path, OLD)
    assert key.encode() not in (tmp_path / "vault.json").read_bytes()
    assert Vault.open(tmp_path, OLD).master == master
    manage.change(tmp_path, OLD, NEW)  # it survives a change of the passphrase
    assert manage.recover(tmp_path, key, OLD) == "passphrase"
    assert Vault.open(tmp_path, OLD).master == master
    assert manage.recover(tmp_path, key, None) == "key file"
    assert Vault.open(tmp_path, None).master == master


def test_a_lost_key_file_is_replaced_with_the_recovery_key(tmp_path: Path) -> None:
    master = Vault.open(tmp_path, None).master
    key = manage.export_recovery(tmp_path, None)
    (tmp_path / "vault.key").unlink()
    assert manage.recover(tmp_path, key, None) == "key file"
    assert Vault.open(tmp_path, None).master == master


def test_only_the_latest_recovery_key_opens(tmp_path: Path) -> None:
    Vault.open(tmp_path, OLD)
    first, second = (manage.export_recovery(tmp_path, OLD) for _ in range(2))
    with pytest.raises(VaultError, match="another one's, or an earlier one"):
        manage.recover(tmp_path, first, NEW)
    manage.recover(tmp_path, second, NEW)


def test_status(tmp_path: Path) -> None:
    with pytest.raises(VaultError, match="no vault"):
        manage.status(tmp_path, None)
    assert list(tmp_path.iterdir()) == []
    Vault.open(tmp_path, OLD)
    assert manage.status(tmp_path, None).opens is None
    right, wrong = manage.status(tmp_path, OLD), manage.status(tmp_path, NEW)
    assert (right.opens, right.opened_by, right.recovery_key) == (True, "passphrase", None)
    assert wrong.opens is False
    assert "passphrase is wrong" in wrong.problem
    manage.export_recovery(tmp_path, OLD)
    assert manage.status(tmp_path, OLD).recovery_key


FULL = """
import resource, sys
from pathlib import Path
from portico.errors import VaultError
from portico.storage.vault import manage
resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))
import signal
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
try:
    manage.change(Path(sys.argv[1]), sys.argv[2], sys.argv[3])
except VaultError as error:
    print(error)
"""


def test_a_disk_without_room_leaves_the_old_vault(tmp_path: Path) -> None:
    master = Vault.open(tmp_path, OLD).master
    assert resource.getrlimit(resource.RLIMIT_FSIZE)[0] == resource.RLIM_INFINITY
    done = subprocess.run(
        [sys.executable, "-c", FULL, str(tmp_path), OLD, NEW], capture_output=True, text=True, timeout=60
    )
    assert "vault.json can't be written" in done.stdout, done.stderr
    assert {path.name for path in tmp_path.iterdir()} == {"vault.json", "vault.lock"}
    assert Vault.open(tmp_path, OLD).master == master


def test_only_one_at_a_time(tmp_path: Path) -> None:
    Vault.open(tmp_path, OLD)
    with (
        files.locked(tmp_path / "vault.lock"),
        pytest.raises(VaultError, match="another process is changing"),
        files.locked(tmp_path / "vault.lock", patience=0.05),
    ):
        pass
