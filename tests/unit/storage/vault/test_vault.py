"""The vault: what opens it, what it refuses, and that nothing is ever made in place of what was there."""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from portico.errors import VaultError
from portico.storage.vault import LABELS, Vault, header

PASSPHRASE = "correct horse battery"
OTHER = "incorrect horse battery"

OPEN = """
import sys
from pathlib import Path
from portico.storage.vault import Vault
passphrase = sys.argv[2] or None
sys.stdin.readline()
print(Vault.open(Path(sys.argv[1]), passphrase).key("database").hex())
"""


@pytest.fixture(params=[None, PASSPHRASE], ids=["key file", "passphrase"])
def passphrase(request: pytest.FixtureRequest) -> str | None:
    """What opens the vault: both ways."""
    given: str | None = request.param
    return given


def files(folder: Path) -> dict[str, bytes]:
    """Every file of a folder, but the lock."""
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir()) if path.suffix != ".lock"}


def refused(folder: Path, passphrase: str | None) -> str:
    """The one sentence with which the vault refuses to open; it changes no file."""
    before = files(folder)
    with pytest.raises(VaultError) as caught:
        Vault.open(folder, passphrase)
    assert files(folder) == before
    assert "\n" not in str(caught.value)
    return str(caught.value)


def outcome(folder: Path) -> tuple[bytes, str]:
    """The master key that opening leads to, or the sentence."""
    try:
        return Vault.open(folder, None).master, ""
    except VaultError as error:
        return b"", str(error)


def test_opens_again_with_the_same_keys(tmp_path: Path, passphrase: str | None) -> None:
    first = Vault.open(tmp_path, passphrase)
    again = Vault.open(tmp_path, passphrase)
    keys = {label: first.key(label) for label in LABELS}
    assert {label: again.key(label) for label in LABELS} == keys
    assert len(set(keys.values())) == len(LABELS)
    assert {len(key) for key in keys.values()} == {32}
    assert again.fingerprint == first.fingerprint


def test_every_vault_is_another(tmp_path: Path) -> None:
    vaults = []
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
        vaults.append(Vault.open(tmp_path / name, PASSPHRASE))
    assert vaults[0].key("database") != vaults[1].key("database")
    with pytest.raises(VaultError, match="can't be opened"):
        vaults[1].unseal(vaults[0].seal(b"secret", "row"), "row")


def test_labels_are_a_list(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no key 'databse'"):
        Vault.open(tmp_path, None).key("databse")


def test_files_are_the_owners_alone(tmp_path: Path, passphrase: str | None) -> None:
    before = os.umask(0)
    try:
        Vault.open(tmp_path, passphrase)
    finally:
        os.umask(before)
    names = {"vault.json", "vault.lock"} | ({"vault.key"} if passphrase is None else set())
    assert {path.name for path in tmp_path.iterdir()} == names
    assert {path.stat().st_mode & 0o777 for path in tmp_path.iterdir()} == {0o600}


def test_no_file_holds_a_key(tmp_path: Path) -> None:
    vault = Vault.open(tmp_path, PASSPHRASE)
    everything = b"".join(files(tmp_path).values())
    for secret in (vault.master, vault.key("database"), vault.key("secrets")):
        assert secret not in everything
        assert secret.hex().encode() not in everything
    assert PASSPHRASE.encode() not in everything
    assert vault.master.hex() not in repr(vault)


def test_a_wrong_passphrase(tmp_path: Path) -> None:
    Vault.open(tmp_path, PASSPHRASE)
    assert "the passphrase is wrong" in refused(tmp_path, OTHER)
    assert "set PORTICO_PASSPHRASE" in refused(tmp_path, None)
    assert "set PORTICO_PASSPHRASE" in refused(tmp_path, "")


def test_a_passphrase_for_a_key_file(tmp_path: Path) -> None:
    Vault.open(tmp_path, None)
    assert "opened by its key file" in refused(tmp_path, PASSPHRASE)


def test_a_short_passphrase_makes_no_vault(tmp_path: Path) -> None:
    for short in ("", "eleven char"):
        assert "at least 12 characters" in refused(tmp_path, short)
    assert not (tmp_path / "vault.json").exists()


def test_letters_composed_otherwise_are_the_same_passphrase(tmp_path: Path) -> None:
    made = Vault.open(tmp_path, "stra\u00dfe caf\u00e9 am meer")
    assert Vault.open(tmp_path, "stra\u00dfe cafe\u0301 am meer").master == made.master


def test_a_missing_key_file(tmp_path: Path) -> None:
    Vault.open(tmp_path, None)
    (tmp_path / "vault.key").unlink()
    assert "vault.key is missing" in refused(tmp_path, None)


def test_a_changed_key_file(tmp_path: Path) -> None:
    vault = Vault.open(tmp_path, None)
    path = tmp_path / "vault.key"
    right = path.read_bytes()
    for index in range(len(right)):
        path.write_bytes(right[:index] + bytes((right[index] ^ 1,)) + right[index + 1 :])
        master, said = outcome(tmp_path)
        if said:
            assert "\n" not in said
        else:  # only the newline may differ
            assert master == vault.master
            assert bytes.fromhex(path.read_text()) == bytes.fromhex(right.decode())
    path.write_bytes(b"")
    assert "not a key file" in refused(tmp_path, None)
    path.write_bytes(os.urandom(32).hex().encode())
    assert "another vault's" in refused(tmp_path, None)


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o620, 0o644, 0o666])
def test_a_key_file_that_others_may_read(tmp_path: Path, mode: int) -> None:
    Vault.open(tmp_path, None)
    (tmp_path / "vault.key").chmod(mode)
    assert f"chmod 600 {tmp_path / 'vault.key'}" in refused(tmp_path, None)
    (tmp_path / "vault.key").chmod(0o600)
    Vault.open(tmp_path, None)


@pytest.mark.parametrize("name", ["vault.json", "vault.key"])
def test_symbolic_links_are_not_followed(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    Vault.open(folder, None)
    (folder / name).rename(tmp_path / name)
    (folder / name).symlink_to(tmp_path / name)
    assert "can't be read" in refused(folder, None)


@pytest.mark.parametrize("name", ["vault.json", "vault.key"])
def test_what_is_no_file(tmp_path: Path, name: str) -> None:
    Vault.open(tmp_path, None)
    (tmp_path / name).unlink()
    os.mkfifo(tmp_path / name, 0o600)
    with pytest.raises(VaultError, match="is not a file"):
        Vault.open(tmp_path, None)


def test_every_flipped_byte(tmp_path: Path) -> None:
    """Each byte of vault.json, each of two bits: refused in a sentence, or the same master key; never another."""
    vault = Vault.open(tmp_path, None)
    path = tmp_path / "vault.json"
    right = path.read_bytes()
    opened = 0
    for index in range(len(right)):
        for bit in (1, 0x20):
            path.write_bytes(right[:index] + bytes((right[index] ^ bit,)) + right[index + 1 :])
            master, said = outcome(tmp_path)
            if said:
                assert "\n" not in said
                assert "vault.json" in said
            else:
                assert master == vault.master
                opened += 1
    assert opened <= right.count(b" ") + right.count(b"\n")  # white space, where JSON doesn't mind


def test_every_cut(tmp_path: Path) -> None:
    Vault.open(tmp_path, None)
    path = tmp_path / "vault.json"
    right = path.read_bytes()
    for size in range(len(right) - 2):
        path.write_bytes(right[:size])
        with pytest.raises(VaultError, match="damaged"):
            Vault.open(tmp_path, None)


def edited(path: Path, *keys: str | int, to: Any) -> None:
    """Change one value of vault.json and reckon the checksum anew, as an attacker would."""
    value = json.loads(path.read_text())
    place = value
    for key in keys[:-1]:
        place = place[key]
    place[keys[-1]] = to
    value.pop("check")
    value["check"] = hashlib.sha256(header.canonical(value)).hexdigest()
    path.write_text(json.dumps(value, indent=2))


@pytest.mark.parametrize(
    ("keys", "to"),
    [
        (("id",), "0" * 32),
        (("created",), "2020-01-01T00:00:00Z"),
        (("slots", 0, "salt"), "00" * 16),
        (("slots", 0, "made"), "2020-01-01T00:00:00Z"),
        (("slots", 0, "wrapped"), "00" * 60),
        (("slots", 0, "kdf", "memory"), 4096),
        (("slots", 0, "kdf", "passes"), 2),
    ],
)
def test_what_an_attacker_changes(tmp_path: Path, keys: tuple[str | int, ...], to: Any) -> None:
    Vault.open(tmp_path, None)
    edited(tmp_path / "vault.json", *keys, to=to)
    assert "was altered" in refused(tmp_path, None)


@pytest.mark.parametrize(
    ("keys", "to"),
    [
        (("slots", 0, "kdf", "memory"), 1 << 40),
        (("slots", 0, "kdf", "memory"), True),
        (("slots", 0, "kdf", "memory"), 65536.0),
        (("slots", 0, "kdf", "passes"), 0),
        (("slots", 0, "kdf", "passes"), 10**9),
        (("slots", 0, "kdf", "lanes"), 1000),
        (("slots", 0, "kdf", "name"), "argon2i"),
        (("slots", 0, "kdf"), None),
        (("slots", 0, "kdf"), []),
    ],
)
def test_a_cost_that_nobody_should_pay(tmp_path: Path, keys: tuple[str | int, ...], to: Any) -> None:
    Vault.open(tmp_path, None)
    edited(tmp_path / "vault.json", *keys, to=to)
    assert "key derivation" in refused(tmp_path, None)


@pytest.mark.parametrize(
    ("keys", "to"),
    [(("slots",), []), (("slots",), 7), (("slots", 0, "salt"), "00"), (("id",), 1), (("more",), 1), (("next",), {})],
)
def test_what_is_no_vault(tmp_path: Path, keys: tuple[str | int, ...], to: Any) -> None:
    Vault.open(tmp_path, None)
    edited(tmp_path / "vault.json", *keys, to=to)
    assert "is damaged" in refused(tmp_path, None)


@pytest.mark.parametrize("text", [b"", b"{}", b"null", b"[" * 60_000, b'{"a":1,"a":2}', b"\xff\xfe", b" " * 70_000])
def test_what_is_no_json(tmp_path: Path, text: bytes) -> None:
    Vault.open(tmp_path, None)
    (tmp_path / "vault.json").write_bytes(text)
    assert "damaged" in refused(tmp_path, None)


def test_a_vault_of_a_newer_version(tmp_path: Path) -> None:
    Vault.open(tmp_path, None)
    edited(tmp_path / "vault.json", "version", to=2)
    assert "written by a newer Portico" in refused(tmp_path, None)


def test_a_database_without_its_vault(tmp_path: Path) -> None:
    Vault.open(tmp_path, None)
    (tmp_path / "portico.db").write_bytes(os.urandom(4096))
    (tmp_path / "vault.json").unlink()
    said = refused(tmp_path, None)
    assert "portico.db is there" in said
    assert "vault.json, which opens it, is missing" in said


def test_a_database_of_another_program_is_no_concern(tmp_path: Path) -> None:
    with contextlib.closing(sqlite3.connect(tmp_path / "other.db")) as connection:
        connection.execute("CREATE TABLE a (b)")
    Vault.open(tmp_path, None)


def test_a_start_that_was_broken_off_between_the_two_files(tmp_path: Path) -> None:
    Vault.open(tmp_path, None)
    key = (tmp_path / "vault.key").read_bytes()
    (tmp_path / "vault.json").unlink()
    Vault.open(tmp_path, None)
    assert (tmp_path / "vault.key").read_bytes() == key
    Vault.open(tmp_path, None)


def test_sealed_fields(tmp_path: Path) -> None:
    vault = Vault.open(tmp_path, None)
    sealed = vault.seal(b"secret", "keys/1")
    assert sealed[0] == 1
    assert len(sealed) == len(b"secret") + 29
    assert b"secret" not in sealed
    assert vault.seal(b"secret", "keys/1") != sealed
    assert Vault.open(tmp_path, None).unseal(sealed, "keys/1") == b"secret"
    assert vault.unseal(vault.seal(b"", "r"), "r") == b""
    for index in range(len(sealed)):
        with pytest.raises(VaultError):
            vault.unseal(sealed[:index] + bytes((sealed[index] ^ 1,)) + sealed[index + 1 :], "keys/1")
        with pytest.raises(VaultError):
            vault.unseal(sealed[:index], "keys/1")
    with pytest.raises(VaultError):
        vault.unseal(sealed, "keys/2")


@pytest.mark.parametrize("given", ["", PASSPHRASE], ids=["key file", "passphrase"])
def test_processes_that_start_together_make_one_vault(tmp_path: Path, given: str) -> None:
    command = [sys.executable, "-c", OPEN, str(tmp_path), given]
    started = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for _ in range(4)
    ]
    try:
        for process in started:
            assert process.stdin is not None
            process.stdin.write("go\n")
            process.stdin.flush()
        told = [process.communicate(timeout=60) for process in started]
    finally:
        for process in started:
            process.kill()
    assert len({out for out, _ in told}) == 1, told
    assert len(told[0][0].strip()) == 64
