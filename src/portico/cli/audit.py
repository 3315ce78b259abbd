"""`portico audit`: who did what; and whether the records of it are as they were written."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Final, TextIO

import typer

from portico.cli.options import After, Config, DataDir, Json, Limit

if TYPE_CHECKING:
    from portico.storage.audit.verify import Report

COLUMNS: Final = ("time", "who", "action", "on", "result", "from", "tenant")
STEP: Final = 100_000  # records between two words of progress
Heads = Annotated[
    Path | None, typer.Option("--heads", metavar="FILE", help="Published heads; those of the data directory if not.")
]


def build() -> typer.Typer:
    """The subcommands."""
    group = typer.Typer(help="The audit trail: list, export, verify.", no_args_is_help=True)
    for name, run in (("list", show_all), ("export", export), ("verify", verify)):
        group.command(name)(run)
    return group


def show_all(
    since: Annotated[str, typer.Option(metavar="TIME", help="From this time on; or how long ago, such as 7d.")] = "",
    until: Annotated[str, typer.Option(metavar="TIME", help="Before this time.")] = "",
    actor: Annotated[str, typer.Option(metavar="ID", help="Who did it.")] = "",
    action: Annotated[str, typer.Option(metavar="ACTION", help="Such as keys.revoke, or keys for all on keys.")] = "",
    object_: Annotated[str, typer.Option("--object", metavar="ID", help="On what.")] = "",
    result: Annotated[str, typer.Option(metavar="RESULT", help="ok or refused.")] = "",
    request: Annotated[str, typer.Option(metavar="ID", help="In which request.")] = "",
    tenant: Annotated[str, typer.Option(metavar="TENANT", help="Those of one tenant.")] = "",
    after: After = "",
    limit: Limit = 50,
    config: Config = None,
    data_dir: DataDir = None,
    as_json: Json = False,
) -> None:
    """List what was done and refused, newest first."""
    from portico.cli.output import more, show, table
    from portico.runtime.call import call

    asked: dict[str, Any] = {"since": since, "until": until, "actor": actor, "action": action, "object": object_}
    asked |= {"result": result, "request": request, "tenant": tenant, "after": after, "limit": limit}
    page = call(config, data_dir, "audit.list", asked)
    lines = table(COLUMNS, (_row(each) for each in page["items"])) if page["items"] else ["there are no records"]
    show(page, [*lines, *more("audit list", page)], as_json)


def export(
    format_: Annotated[
        str, typer.Option("--format", metavar="FORMAT", help="jsonl, or csv for a spreadsheet.")
    ] = "jsonl",
    out: Annotated[
        Path | None, typer.Option("--out", metavar="FILE", help="A new file; standard output if not.")
    ] = None,
    config: Config = None,
    data_dir: DataDir = None,
) -> None:
    """Write the whole trail, which is a record itself. `portico audit verify FILE` proves a jsonl."""
    from portico.cli import opened
    from portico.storage.audit import exporting

    if format_ not in exporting.FORMATS:
        raise typer.BadParameter("must be jsonl or csv", param_hint="--format")
    with _output(out) as stream:
        written = opened.run(config, data_dir, lambda db, _: exporting.export(db, stream, format_, str(out or "-")))
    if out is not None:
        print(f"{out}: {written} records", flush=True)


def verify(
    file: Annotated[
        Path | None, typer.Argument(metavar="[FILE]", help="An export; the database if there is none.")
    ] = None,
    heads: Heads = None,
    config: Config = None,
    data_dir: DataDir = None,
    as_json: Json = False,
) -> None:
    """Prove that no record was altered, moved or removed; name the first that was. Needs the vault, changes nothing."""
    import dataclasses

    from portico.cli import opened
    from portico.cli.output import show
    from portico.storage.audit import check
    from portico.storage.audit import heads as published

    where, _ = opened.place(config, data_dir)
    known = published.read(heads) if heads is not None else published.of(where)
    if file is None:
        report = opened.run(config, data_dir, lambda db, vault: check.database(db, vault, known, _progress))
    else:
        with open(file, encoding="utf-8") as lines:
            report = check.export(lines, _keys(config, data_dir), known, _progress)
    show({"ok": report.ok, **dataclasses.asdict(report)}, _told(report, file), as_json)
    if not report.ok:
        raise typer.Exit(1)


def _keys(config: Path | None, data_dir: Path | None) -> dict[str, bytes]:
    """The vault's key; and those of before a change of the master key, if there is the database that has them."""
    from portico.cli import opened
    from portico.errors import StorageError, VaultError
    from portico.storage.audit import source
    from portico.storage.database import Database
    from portico.storage.vault import Vault

    async def of_database(db: Database, vault: Vault) -> dict[str, bytes]:
        async with db.read() as session:
            return await source.keys(session, vault)

    where, _ = opened.place(config, data_dir)
    vault = Vault.open(where, opened.passphrase_of(where))
    try:
        return opened.run(config, data_dir, of_database)
    except (StorageError, VaultError):
        return {vault.fingerprint: vault.key("audit")}


def _progress(count: int) -> None:
    if count % STEP == 0 and sys.stderr.isatty():
        print(f"{count:,} records", file=sys.stderr)


@contextmanager
def _output(out: Path | None) -> Iterator[TextIO]:
    """A new file 0600 that is gone when something fails; or standard output."""
    import os

    if out is None:
        yield sys.stdout
        sys.stdout.flush()
        return
    descriptor = os.open(out, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8", newline="") as stream:
            yield stream
    except BaseException:
        out.unlink(missing_ok=True)
        raise


def _told(report: Report, file: Path | None) -> Iterator[str]:
    from portico.cli.output import count

    kept = f"{count(report.records, 'record')} of {count(report.writers, 'chain')}"
    kept += f", {count(report.heads, 'published head')}"
    pruned = f"; {report.pruned} older ones were pruned" if report.pruned else ""
    what = str(file) if file is not None else "the audit trail"
    if report.ok:
        yield f"{what} is as it was written: {kept}{pruned}"
        return
    yield f"{what} is not as it was written: {kept}{pruned}"
    for each in report.findings:
        place = f"record {each.sequence}" if each.sequence else "the whole"
        yield f"  {each.what:<9}  {place} of chain {each.writer}: {each.said}"


def _row(each: dict[str, Any]) -> tuple[str, ...]:
    who = f"{each['actor_kind']} {each['actor']}".strip()
    what = f"{each['object_kind']} {each['object']}"
    result = f"{each['result']} {each['code']}".strip()
    return each["at"][:19].replace("T", " "), who, each["action"], what, result, each["source"], each["tenant"]
