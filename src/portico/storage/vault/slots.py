"""Opening and filling the slots of vault.json: what the secret in hand has to do with the master key."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Final

from portico.errors import VaultError
from portico.storage.vault import crypto, files, header
from portico.storage.vault.header import Header, Next, Slot

FILE: Final = "vault.json"
KEY_FILE: Final = "vault.key"
LOCK: Final = "vault.lock"
SHORTEST_PASSPHRASE: Final = 12  # characters


def load(data_dir: Path) -> Header:
    """The header of `data_dir`, without opening anything; VaultError when it is missing or damaged."""
    path = data_dir / FILE
    text = files.read(path)
    if text is None:
        raise VaultError(f"there is no vault in {data_dir}: {FILE} is missing; `portico up` makes one where nothing is")
    try:
        return header.read(text)
    except VaultError as error:
        raise VaultError(f"the vault can't be opened: {path}: {error}") from error


def save(data_dir: Path, head: Header) -> None:
    """Replace vault.json; the caller holds the lock."""
    files.write(data_dir / FILE, header.write(head))


def secret_of(data_dir: Path, head: Header, passphrase: str | None, key_file: Path | None = None) -> bytes:
    """The bytes that open the main slot: the passphrase's, or those of the key file. VaultError when absent."""
    if head.main.kind == header.KEY_FILE:
        if passphrase is not None:
            raise VaultError(
                "this vault is opened by its key file, not by a passphrase: unset PORTICO_PASSPHRASE, "
                "or change over with `portico vault change-passphrase`"
            )
        return read_key_file(key_file or data_dir / KEY_FILE)
    if not passphrase:
        raise VaultError("this vault is opened by a passphrase: set PORTICO_PASSPHRASE")
    return crypto.as_bytes(passphrase)


def read_key_file(path: Path) -> bytes:
    """The bytes of a key file; VaultError when it is missing, open to others, or not a key file."""
    text = files.read(path, private=True)
    if text is None:
        raise VaultError(f"the vault's key file {path} is missing: put it back, or use the recovery key")
    try:
        key = bytes.fromhex(text.decode("ascii"))
    except ValueError:
        key = b""
    if len(key) != crypto.KEY:
        raise VaultError(f"{path} is not a key file, or is damaged: put the right one back")
    return key


def master_of(where: Path, head: Header, secret: bytes) -> bytes:
    """The master key of the main slot; VaultError, which names `where`, when the secret is another."""
    slot = head.main
    master = crypto.unwrap(_kek(slot, secret), slot.wrapped, head.bound(slot))
    if master is None:
        what = "the passphrase is wrong" if slot.kind == header.PASSPHRASE else "the key file is another vault's"
        raise VaultError(f"the vault in {where} can't be opened: {what}, or {FILE} was altered")
    return master


def next_of(where: Path, head: Header, secret: bytes) -> bytes:
    """The master key that is taking over; there is one, and `secret` opens the main slot."""
    assert head.next is not None
    master = crypto.unwrap(_kek(head.main, secret), head.next.wrapped, head.bound(head.main, head.next))
    if master is None:
        raise VaultError(f"the vault in {where} can't be opened: {FILE} was altered")
    return master


def make_slot(kind: str, made: str) -> Slot:
    """An empty slot with a salt of its own."""
    kdf = crypto.FOR_PASSPHRASES if kind == header.PASSPHRASE else crypto.FOR_KEY_FILES
    return Slot(kind, kdf, os.urandom(crypto.SALT), made)


def fill(head: Header, slot: Slot, secret: bytes, master: bytes) -> Slot:
    """`slot` with `master` wrapped under `secret`."""
    return replace(slot, wrapped=crypto.wrap(_kek(slot, secret), master, head.bound(slot)))


def announce(head: Header, database: str, secret: bytes, master: bytes) -> Header:
    """The header that holds the old master key and `master`, which is taking over."""
    following = Next(database)
    wrapped = crypto.wrap(_kek(head.main, secret), master, head.bound(head.main, following))
    return replace(head, next=replace(following, wrapped=wrapped))


def check_new(passphrase: str) -> None:
    """VaultError when a new passphrase is too short to be one."""
    if len(passphrase) < SHORTEST_PASSPHRASE:
        raise VaultError(f"a passphrase must have at least {SHORTEST_PASSPHRASE} characters")


def new_key_file(path: Path) -> bytes:
    """A key file with 32 random bytes at `path`; those bytes."""
    key = os.urandom(crypto.KEY)
    files.write(path, key.hex().encode() + b"\n")
    return key


def _kek(slot: Slot, secret: bytes) -> bytes:
    assert slot.kdf is not None
    return crypto.stretch(secret, slot.salt, slot.kdf)
