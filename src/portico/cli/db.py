"""`portico db …`: the database's schema and health, its backups, and their restoring."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from portico.cli.opened import given, passphrase_of, place
from portico.cli.options import Config, DataDir, Json

if TYPE_CHECKING:
    from portico.storage.backup.restore import Plan

File = Annotated[Path, typer.Argument(metavar="FILE", help="The backup.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Prove the backup and show what would happen; do nothing.")]
Force = Annotated[bool, typer.Option("--force", help="Also where there is a database; that one is kept beside it.")]
KeyFile = Annotated[
    Path | None, typer.Option("--key-file", metavar="FILE", help="The key file of the backup's vault (vault.key).")
]


def build() -> typer.Typer:
    """The subcommands."""
    app = typer.Typer(help="The database: upgrade, check, backup, restore.", no_args_is_help=True)
    for command in (upgrade, check, backup, restore):
        app.command(command.__name__)(command)
    return app


def upgrade(config: Config = None, data_dir: DataDir = None, as_json: Json = False) -> None:
    """Bring the schema up to this version's. SQLite's is at every start, PostgreSQL's only by this command."""
    import asyncio

    from portico.cli.output import show
    from portico.storage.database import Database
    from portico.storage.vault import Vault

    where, url = place(config, data_dir)
    if url.startswith("sqlite:"):
        with _alone(where):
            vault = Vault.open(where, passphrase_of(where))
            database = Database(url, where, vault.key("database"))
            assert database.path is not None
            vault.expect(database.path)
            before, after = asyncio.run(database.upgrade())
            vault.remember(database.path)
    else:
        before, after = asyncio.run(Database(url, where, None).upgrade())
    done = f"upgraded from {before}" if before else "made"
    line = f"the schema is {after}, as it must be" if before == after else f"the schema was {done}; it is {after} now"
    show({"before": before, "after": after}, [line], as_json)


def check(config: Config = None, data_dir: DataDir = None, as_json: Json = False) -> None:
    """Read all of the database. Is every page and row whole, the schema right, and is it this vault's?"""
    from portico.cli.output import count, show

    found = _run(config, data_dir, "db.check", {})
    rows = ", ".join(f"{name} {number}" for name, number in found["rows"].items() if number) or "none"
    lines = [f"{found['kind']}, schema {found['schema'] or '-'}: {'whole' if found['ok'] else 'not well'}"]
    lines += [f"  rows    {rows}", f"  sealed  {count(found['sealed'], 'field')} opened"]
    lines += [f"  problem {problem}" for problem in found["problems"]]
    show(found, lines, as_json)
    if not found["ok"]:
        raise typer.Exit(1)


def backup(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="What to write; it must not exist.")],
    config: Config = None,
    data_dir: DataDir = None,
    as_json: Json = False,
) -> None:
    """Write an encrypted backup to one file, and prove it. A running gateway goes on."""
    from portico.cli.output import show

    made = _run(config, data_dir, "db.backup", {"file": str(file.expanduser().absolute())})
    rows = sum(made["rows"].values())
    lines = [f"{made['file']}: {made['size']:,} bytes, {rows} rows, verified"]
    lines.append("it is encrypted; what opens the vault now opens it, so keep that too, elsewhere")
    show(made, lines, as_json)


def restore(
    file: File,
    config: Config = None,
    data_dir: DataDir = None,
    dry_run: DryRun = False,
    force: Force = False,
    key_file: KeyFile = None,
    as_json: Json = False,
) -> None:
    """Restore a backup. The gateway must be stopped.

    What opened the vault when it was made opens it: PORTICO_PASSPHRASE, --key-file, or PORTICO_RECOVERY_KEY.
    """
    import asyncio
    import dataclasses

    from portico.cli.output import show
    from portico.runtime import paths
    from portico.storage.audit import acting, operator
    from portico.storage.backup.restore import Restore

    where, url = place(config, data_dir)
    work = Restore.open(file, where, url, _secret(file, key_file))
    plan = work.plan()
    told = {**dataclasses.asdict(plan), "file": str(plan.file), "dry_run": dry_run, "kept": None}
    if dry_run:
        show(told, _plan(plan, "would be"), as_json)
        return
    with _alone(paths.prepare_data_dir(where)), acting(operator()):
        kept = asyncio.run(work.run(force))
    told["kept"] = str(kept) if kept else None
    lines = [*_plan(plan, "was"), *([f"what was there before is in {kept}"] if kept else [])]
    lines.append("what was changed since then is gone: keys and sessions that were revoked since work again")
    show(told, lines, as_json)


def _run(config: Path | None, data_dir: Path | None, name: str, arguments: dict[str, Any]) -> dict[str, Any]:
    """Do a command that needs nothing for itself: here, for as long as it takes, when the vault can be opened here.

    Else a running gateway is asked, which has opened it; it takes at most half a minute.
    """
    from portico.cli import opened
    from portico.runtime import call, control, paths
    from portico.storage.commands import db as commands
    from portico.storage.vault import header, slots

    where, url = place(config, data_dir)
    record = paths.read_record(where)
    asked = slots.load(where).main.kind == header.PASSPHRASE and not given()
    if asked and record is not None and control.alive(record):
        return call.call(config, data_dir, name, arguments)
    # A check of SQLite opens the file itself: it may not be fit for more, and nothing is to be made by looking.
    closed = url.startswith("sqlite:") and name == "db.check"
    command = commands.COMMANDS[name]
    return opened.run(config, data_dir, lambda database, vault: command(database, vault, arguments), closed=closed)


def _secret(file: Path, key_file: Path | None) -> Any:
    import getpass
    import os
    import sys

    from portico.cli import passphrase
    from portico.storage.backup import container
    from portico.storage.backup.restore import Secret

    present, recovery = given(), os.environ.get(passphrase.RECOVERY)
    asked = present is None and recovery is None and '"passphrase"' in container.read(file).header.vault
    if asked and sys.stdin.isatty():
        present = getpass.getpass("Passphrase of the backup: ")
    return Secret(present, key_file, recovery)


def _plan(plan: Plan, verb: str) -> Iterator[str]:
    from portico.cli.output import duration

    yield f"{plan.file}: proven; made {plan.made}, {duration(plan.age)} ago, by Portico {plan.portico}; rows:"
    yield from (f"  {name:<14} {number:>8}" for name, number in plan.rows.items() if number)
    yield f"{verb} restored into {plan.into}; opened by the {plan.opened_by} of then"
    if plan.replaces:
        yield f"in the place of {', '.join(plan.replaces)}"


@contextmanager
def _alone(where: Path) -> Iterator[None]:
    """Hold the data directory, so that no gateway starts on it. AlreadyRunning when one runs."""
    from portico.runtime.lock import COMMAND, PidFile

    lock = PidFile(where)
    lock.acquire(COMMAND)
    try:
        yield
    finally:
        lock.release()
