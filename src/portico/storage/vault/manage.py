"""What an operator does to a vault: look at it, change what opens it, keep a recovery key for the day it is lost."""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from pathlib import Path

from portico.errors import VaultError
from portico.storage.vault import crypto, files, header, pending, recovery, slots
from portico.storage.vault.header import Header, Slot
from portico.storage.vault.slots import FILE, KEY_FILE, LOCK, load, save


@dataclass(frozen=True, slots=True)
class Status:
    """What can be said of a vault; times RFC 3339; `opens` is None when the secret was not at hand."""

    file: str
    id: str
    opened_by: str
    created: str
    changed: str
    recovery_key: str | None
    rekey_unfinished: bool
    opens: bool | None
    problem: str = ""


def status(data_dir: Path, passphrase: str | None) -> Status:
    """Look at the vault of `data_dir`, and try to open it if that is possible. Changes nothing."""
    head = load(data_dir)
    opens, problem = _tried(data_dir, head, passphrase)
    kept = head.slot(header.RECOVERY)
    return Status(
        file=str(data_dir / FILE),
        id=head.id,
        opened_by=head.main.kind,
        created=head.created,
        changed=head.main.made,
        recovery_key=kept.made if kept else None,
        rekey_unfinished=head.next is not None,
        opens=opens,
        problem=problem,
    )


def change(data_dir: Path, passphrase: str | None, new: str | None) -> str:
    """Wrap the master key under the passphrase `new`, or under a new key file when it is None; what opens it now.

    Nothing that the vault protects is written anew. VaultError leaves everything as it was.
    """
    if new is not None:
        slots.check_new(new)
    with files.locked(data_dir / LOCK):
        head = load(data_dir)
        if new is None and head.main.kind == header.KEY_FILE:
            raise VaultError("this vault is opened by its key file already")
        secret = slots.secret_of(data_dir, head, passphrase)
        master = slots.master_of(data_dir, head, secret)
        head, master = _settled(data_dir, head, secret, master)
        return _secure(data_dir, head, master, new)


def export_recovery(data_dir: Path, passphrase: str | None) -> str:
    """A new recovery key, which opens the vault beside its passphrase or key file; an earlier one opens it no more."""
    with files.locked(data_dir / LOCK):
        head = load(data_dir)
        secret = slots.secret_of(data_dir, head, passphrase)
        master = slots.master_of(data_dir, head, secret)
        head, master = _settled(data_dir, head, secret, master)
        key = os.urandom(crypto.KEY)
        slot = Slot(header.RECOVERY, None, os.urandom(crypto.SALT), header.now())
        wrapped = crypto.wrap(_kek(slot, key), master, head.bound(slot))
        save(data_dir, head.with_slot(replace(slot, wrapped=wrapped)))
    return recovery.write(key)


def recover(data_dir: Path, recovery_key: str, new: str | None) -> str:
    """Let `new` (None: a new key file) open a vault whose passphrase or key file is lost; what opens it now."""
    if new is not None:
        slots.check_new(new)
    key = recovery.read(recovery_key)
    with files.locked(data_dir / LOCK):
        head = load(data_dir)
        master = master_by(data_dir, head, key)
        if head.next is not None:
            # The key that was taking over can't be read without the passphrase. It need not be, if it never did.
            path = data_dir / head.next.database
            if not head.next.database or not pending.opens(path, crypto.derive(master, "database")):
                raise VaultError("a change of the master key was broken off: only the passphrase can finish it")
            pending.remove_copy(path)
        return _secure(data_dir, replace(head, next=None), master, new)


def master_by(where: Path, head: Header, key: bytes) -> bytes:
    """The master key that the recovery key opens; VaultError, which names `where`, when it is not this vault's."""
    slot = head.slot(header.RECOVERY)
    if slot is None:
        raise VaultError(f"the vault in {where} has no recovery key")
    master = crypto.unwrap(_kek(slot, key), slot.wrapped, head.bound(slot))
    if master is None:
        raise VaultError(f"the vault in {where} can't be opened: the recovery key is another one's, or an earlier one")
    return master


def _secure(data_dir: Path, head: Header, master: bytes, new: str | None) -> str:
    """Save the vault with another main slot. The key file comes before the header that needs it, or goes after it."""
    path = data_dir / KEY_FILE
    if new is None:
        kind, secret = header.KEY_FILE, _fresh_key_file(path, head)
    else:
        kind, secret = header.PASSPHRASE, crypto.as_bytes(new)
    others = head.slots[1:]
    slot = slots.fill(head, slots.make_slot(kind, header.now()), secret, master)
    save(data_dir, replace(head, slots=(slot, *others)))
    if new is not None:
        path.unlink(missing_ok=True)
        files.sync_folder(data_dir)
    return kind


def _fresh_key_file(path: Path, head: Header) -> bytes:
    if head.main.kind == header.KEY_FILE and files.exists(path):
        return slots.read_key_file(path)  # never write over a key that the present header needs
    return slots.new_key_file(path)


def _settled(data_dir: Path, head: Header, secret: bytes, master: bytes) -> tuple[Header, bytes]:
    return pending.settle(data_dir, head, secret, master) if head.next is not None else (head, master)


def _tried(data_dir: Path, head: Header, passphrase: str | None) -> tuple[bool | None, str]:
    if head.main.kind == header.PASSPHRASE and not passphrase:
        return None, ""
    try:
        slots.master_of(data_dir, head, slots.secret_of(data_dir, head, passphrase))
    except VaultError as error:
        return False, str(error)
    return True, ""


def _kek(slot: Slot, key: bytes) -> bytes:
    return crypto.derive(key, "recovery", slot.salt)
