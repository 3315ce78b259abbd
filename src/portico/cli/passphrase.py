"""Passphrases for commands: from the environment, or asked for at the terminal, never shown and never an argument."""

from __future__ import annotations

import getpass
import os
import sys
from pathlib import Path
from typing import Final

from portico.errors import VaultError

PRESENT: Final = "PORTICO_PASSPHRASE"
NEW: Final = "PORTICO_NEW_PASSPHRASE"
RECOVERY: Final = "PORTICO_RECOVERY_KEY"


def present(data_dir: Path) -> str | None:
    """What opens the vault of `data_dir` now; None when it has a key file, or when there is nobody to ask."""
    from portico.storage.vault import header, slots

    given = os.environ.get(PRESENT)
    if given is not None or slots.load(data_dir).main.kind == header.KEY_FILE or not sys.stdin.isatty():
        return given
    return getpass.getpass("Passphrase of the vault: ")


def new() -> str:
    """A new passphrase, asked for twice; VaultError when there is none, or the two differ."""
    given = os.environ.get(NEW)
    if given is not None:
        return given
    if not sys.stdin.isatty():
        raise VaultError(f"a new passphrase is needed: set {NEW}, or run this at a terminal")
    first = getpass.getpass("New passphrase (at least 12 characters): ")
    if getpass.getpass("Once more: ") != first:
        raise VaultError("the two passphrases differ; nothing was changed")
    return first


def recovery_key() -> str:
    """The recovery key; VaultError when there is none."""
    given = os.environ.get(RECOVERY)
    if given is not None:
        return given
    if not sys.stdin.isatty():
        raise VaultError(f"the recovery key is needed: set {RECOVERY}, or run this at a terminal")
    return getpass.getpass("Recovery key: ")
