"""The vault: passphrase or key file → Argon2id → a key that unwraps the random master key → HKDF, a key a label.

In the data directory: `vault.json` (the wrapped master key), `vault.key` (only without a passphrase), both 0600, and
`vault.lock`. Changing the passphrase wraps the same master key again; nothing that it protects is written anew.
"""

from __future__ import annotations

import os
import secrets
from dataclasses import replace
from pathlib import Path
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from portico.errors import VaultError
from portico.storage.vault import binding, crypto, files, header, pending, slots
from portico.storage.vault.header import Header
from portico.storage.vault.slots import FILE, KEY_FILE, LOCK, load

LABELS: Final = frozenset(
    ("database", "tokens", "secrets", "bus", "files", "audit", "spool", "principal", "backup", "detection"),
)
PLAIN_SQLITE: Final = b"SQLite format 3\0"  # how a database that is not encrypted begins
SEALED_1: Final = b"\x01"
OVERHEAD: Final = len(SEALED_1) + crypto.NONCE + crypto.TAG  # bytes that sealing adds


class Vault:
    """An open vault: keys by label, and the sealing of single fields. `Vault.open` makes one."""

    def __init__(self, data_dir: Path, head: Header, master: bytes) -> None:
        self.data_dir = data_dir
        self.header = head
        self._master = master
        self._secrets = AESGCM(crypto.derive(master, "secrets"))

    def __repr__(self) -> str:
        return f"<Vault {self.data_dir}>"

    @classmethod
    def open(cls, data_dir: Path, passphrase: str | None) -> Vault:
        """Open the vault of `data_dir`, or make one where there is none; takes 0.2 s with a passphrase. Blocks.

        VaultError, one sentence, when the passphrase is wrong, a file is missing, damaged or open to others, or the
        directory holds a database whose vault is gone. Nothing is ever made anew in place of something that is there.
        """
        path = data_dir / FILE
        if files.read(path) is None:
            with files.locked(data_dir / LOCK):
                if files.read(path) is None:  # else another process has just made it
                    return _create(data_dir, passphrase)
        head = load(data_dir)
        if head.next is not None:
            with files.locked(data_dir / LOCK):
                return _settle(data_dir, passphrase)
        return cls(data_dir, head, slots.master_of(data_dir, head, slots.secret_of(data_dir, head, passphrase)))

    @property
    def master(self) -> bytes:
        """The master key: for the commands that wrap it anew, and for nothing else."""
        return self._master

    @property
    def fingerprint(self) -> str:
        """16 bytes in hex that tell this master key from any other, and nothing about it."""
        return fingerprint(self._master)

    def expect(self, database: Path) -> None:
        """VaultError when the SQLite file `database` was made under this vault, and is gone."""
        name = binding.name_in(self.data_dir, database)
        if name in self.header.databases and not database.exists():
            raise VaultError(
                f"{database}, the database of this vault, is gone: `portico db restore` brings back a backup; "
                f"to begin anew, move {self.data_dir / FILE} away"
            )

    def remember(self, database: Path) -> None:
        """Note in vault.json that the SQLite file `database` has been made."""
        name = binding.name_in(self.data_dir, database)
        if name in self.header.databases:
            return
        with files.locked(self.data_dir / LOCK):
            head = load(self.data_dir)
            if name not in head.databases:
                head = replace(head, databases=(*head.databases, name))
                slots.save(self.data_dir, head)
            self.header = head

    def key(self, label: str) -> bytes:
        """The 32-byte key of one of LABELS; ValueError for another label."""
        if label not in LABELS:
            raise ValueError(f"the vault has no key {label!r}")
        return crypto.derive(self._master, label)

    def seal(self, plain: bytes, row: str) -> bytes:
        """`plain`, readable only by this vault and only as the field of `row`; 29 bytes longer."""
        nonce = os.urandom(crypto.NONCE)
        return SEALED_1 + nonce + self._secrets.encrypt(nonce, plain, row.encode())

    def unseal(self, sealed: bytes, row: str) -> bytes:
        """What was sealed for `row`; VaultError when it was altered, moved to another row, or is another vault's."""
        if len(sealed) >= OVERHEAD and sealed.startswith(SEALED_1):
            nonce, rest = sealed[1 : 1 + crypto.NONCE], sealed[1 + crypto.NONCE :]
            try:
                return self._secrets.decrypt(nonce, rest, row.encode())
            except InvalidTag:
                pass
        raise VaultError("a sealed field can't be opened: it was altered, or sealed by another vault")


def fingerprint(master: bytes) -> str:
    return crypto.derive(master, "fingerprint")[:16].hex()


def _create(data_dir: Path, passphrase: str | None) -> Vault:
    for path in sorted(data_dir.glob("*.db")):
        if _encrypted(path):
            raise VaultError(f"{path} is there, but {FILE}, which opens it, is missing: restore it from a backup")
    if passphrase is not None:
        slots.check_new(passphrase)
        kind, secret = header.PASSPHRASE, crypto.as_bytes(passphrase)
    else:
        # One may have been left by a start that was broken off between the two files.
        there = files.exists(data_dir / KEY_FILE)
        secret = slots.read_key_file(data_dir / KEY_FILE) if there else slots.new_key_file(data_dir / KEY_FILE)
        kind = header.KEY_FILE
    made = header.now()
    head = Header(secrets.token_hex(16), made)
    master = os.urandom(crypto.KEY)
    head = replace(head, slots=(slots.fill(head, slots.make_slot(kind, made), secret, master),))
    slots.save(data_dir, head)
    return Vault(data_dir, head, master)


def _encrypted(path: Path) -> bool:
    """Whether it may be a database of ours, not another program's."""
    try:
        with open(path, "rb") as stream:
            start = stream.read(len(PLAIN_SQLITE))
    except OSError:
        return True
    return bool(start) and start != PLAIN_SQLITE


def _settle(data_dir: Path, passphrase: str | None) -> Vault:
    """Open a vault whose change of the master key was broken off: the database says which of the two keys counts."""
    head = load(data_dir)
    secret = slots.secret_of(data_dir, head, passphrase)
    master = slots.master_of(data_dir, head, secret)
    if head.next is not None:
        head, master = pending.settle(data_dir, head, secret, master)
        slots.save(data_dir, head)
    return Vault(data_dir, head, master)
