"""`portico vault …`: what opens everything that Portico keeps."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from portico.cli.opened import record
from portico.cli.options import Config, DataDir, Json

if TYPE_CHECKING:
    from portico.storage.vault.manage import Status

KeyFile = Annotated[bool, typer.Option("--key-file", help="A key file opens it from now on, not a passphrase.")]


def build() -> typer.Typer:
    """The subcommands."""
    app = typer.Typer(help="The vault: its state, passphrase, master key, recovery key.", no_args_is_help=True)
    app.command("status")(status)
    app.command("change-passphrase")(change_passphrase)
    app.command("rekey")(rekey)
    app.command("export-recovery")(export_recovery)
    app.command("recover")(recover)
    return app


def status(config: Config = None, data_dir: DataDir = None, as_json: Json = False) -> None:
    """Show what opens the vault, and whether it opens now."""
    import dataclasses
    import os

    from portico.cli import passphrase
    from portico.cli.output import show
    from portico.runtime import find
    from portico.storage.vault import manage

    found = manage.status(find.locate(config, data_dir), os.environ.get(passphrase.PRESENT))
    show(dataclasses.asdict(found), _lines(found), as_json)
    if found.opens is False:
        raise typer.Exit(1)


def change_passphrase(
    config: Config = None, data_dir: DataDir = None, key_file: KeyFile = False, as_json: Json = False
) -> None:
    """Change what opens the vault: passphrase or key file.

    The new passphrase is read from PORTICO_NEW_PASSPHRASE, or asked for. The gateway must be stopped. Backups made
    before still open with the old one.
    """
    from portico.cli import passphrase
    from portico.cli.output import show
    from portico.storage.vault import manage

    with _alone(config, data_dir) as where:
        present, new = passphrase.present(where), None if key_file else passphrase.new()
        kind = manage.change(where, present, new)
        unrecorded = record(config, data_dir, new, "vault.change_passphrase")
    show({"opened_by": kind, "data_dir": str(where)}, [*_changed(where, kind), *unrecorded], as_json)


def rekey(config: Config = None, data_dir: DataDir = None, as_json: Json = False) -> None:
    """Make a new master key, and encrypt everything under it. The gateway must be stopped.

    It may be interrupted at any moment: the next start, or the next rekey, finds out how far it came.
    """
    import asyncio
    import dataclasses

    from portico.cli import passphrase
    from portico.cli.output import count, show
    from portico.runtime import find
    from portico.runtime.build import Builder
    from portico.runtime.options import UpOptions
    from portico.storage.vault import rekey

    with _alone(config, data_dir) as where:
        options = UpOptions(config=config or find.default_config(), data_dir=where)
        url = Builder(options).settings().storage.url
        present = passphrase.present(where)
        done = asyncio.run(rekey.rekey(where, present, url))
        unrecorded = record(config, data_dir, present, "vault.rekey")
    lines = [f"the master key of {where} is new; {count(done.fields, 'field')} sealed anew"]
    if done.recovery_key_void:
        lines.append("the recovery key was for the old one: make another with `portico vault export-recovery`")
    lines += ["backups made before still open with what opened them", *unrecorded]
    show({**dataclasses.asdict(done), "data_dir": str(where)}, lines, as_json)


def export_recovery(config: Config = None, data_dir: DataDir = None, as_json: Json = False) -> None:
    """Print a new recovery key. It opens the vault when its passphrase or key file is lost. Write it down."""
    from portico.cli import passphrase
    from portico.cli.output import show
    from portico.runtime import find
    from portico.storage.vault import manage

    where = find.locate(config, data_dir)
    present = passphrase.present(where)
    key = manage.export_recovery(where, present)
    unrecorded = record(config, data_dir, present, "vault.export_recovery")
    lines = [key, "", "Keep it where the data is not. It is not shown again; an earlier one opens nothing any more."]
    lines += unrecorded
    show({"recovery_key": key, "data_dir": str(where)}, lines, as_json)


def recover(config: Config = None, data_dir: DataDir = None, key_file: KeyFile = False, as_json: Json = False) -> None:
    """Set a new passphrase with the recovery key.

    They are read from PORTICO_NEW_PASSPHRASE and PORTICO_RECOVERY_KEY, or asked for. The gateway must be stopped.
    """
    from portico.cli import passphrase
    from portico.cli.output import show
    from portico.storage.vault import manage

    with _alone(config, data_dir) as where:
        key, new = passphrase.recovery_key(), None if key_file else passphrase.new()
        kind = manage.recover(where, key, new)
        unrecorded = record(config, data_dir, new, "vault.recover")
    show({"opened_by": kind, "data_dir": str(where)}, [*_changed(where, kind), *unrecorded], as_json)


@contextmanager
def _alone(config: Path | None, data_dir: Path | None) -> Iterator[Path]:
    """The data directory, held so that no gateway starts on it meanwhile. AlreadyRunning when one runs."""
    from portico.runtime import find
    from portico.runtime.lock import COMMAND, PidFile
    from portico.storage.vault import slots

    where = find.locate(config, data_dir)
    slots.load(where)  # before anything is made there: is it a vault's at all?
    lock = PidFile(where)
    lock.acquire(COMMAND)
    try:
        yield where
    finally:
        lock.release()


def _changed(where: Path, kind: str) -> list[str]:
    if kind == "passphrase":
        return [f"the vault in {where} is opened by the new passphrase: start the gateway with it"]
    return [f"the vault in {where} is opened by {where / 'vault.key'}: keep a copy where the data is not"]


def _lines(found: Status) -> Iterator[str]:
    yield f"vault {found.id}"
    yield f"  file       {found.file}, made {found.created}"
    yield f"  opened by  {found.opened_by}, since {found.changed}"
    kept = f"a key made {found.recovery_key}" if found.recovery_key else "no key: `portico vault export-recovery`"
    yield f"  recovery   {kept}"
    if found.rekey_unfinished:
        yield "  a change of the master key was broken off: the next start, or `portico vault rekey`, settles it"
    if found.opens is None:
        yield "  opens      not tried: PORTICO_PASSPHRASE is not set"
    else:
        yield f"  opens      {'yes' if found.opens else f'no: {found.problem}'}"
