"""`portico jobs`: work in the background."""

from __future__ import annotations

import json
from typing import Annotated, Any, Final

import typer

from portico.cli.options import After, Config, DataDir, Json, Limit

COLUMNS: Final = ("id", "kind", "queue", "tenant", "state", "attempt", "created", "error")


def build() -> typer.Typer:
    """The subcommands."""
    group = typer.Typer(help="Background jobs: list, show, cancel, retry, a worker of Celery.", no_args_is_help=True)
    for name, run in (("list", show_all), ("show", show), ("cancel", cancel), ("retry", retry), ("celery", celery)):
        group.command(name)(run)
    return group


def show_all(
    state: Annotated[
        str, typer.Option(metavar="STATE", help="waiting, queued, running, succeeded, failed or cancelled.")
    ] = "",
    kind: Annotated[str, typer.Option(metavar="KIND", help="Those of one kind.")] = "",
    queue: Annotated[str, typer.Option(metavar="QUEUE", help="Those of one queue.")] = "",
    tenant: Annotated[str, typer.Option(metavar="TENANT", help="Those of one tenant.")] = "",
    after: After = "",
    limit: Limit = 50,
    config: Config = None,
    data_dir: DataDir = None,
    as_json: Json = False,
) -> None:
    """List jobs, newest first."""
    from portico.cli.output import more, show, table
    from portico.runtime.call import call

    asked = {"state": state, "kind": kind, "queue": queue, "tenant": tenant, "after": after, "limit": limit}
    page = call(config, data_dir, "jobs.list", asked)
    lines = table(COLUMNS, (_row(job) for job in page["items"])) if page["items"] else ["there are no such jobs"]
    show(page, [*lines, *more("jobs list", page)], as_json)


Name = Annotated[str, typer.Argument(metavar="ID", help="Which job.")]


def show(name: Name, config: Config = None, data_dir: DataDir = None, as_json: Json = False) -> None:
    """Show a job: its payload, progress, result, and earlier attempts."""
    from portico.cli.output import show as print_
    from portico.runtime.call import call

    job = call(config, data_dir, "jobs.show", {"id": name})
    lines = [f"{field:<12}{_said(value)}" for field, value in job.items() if field != "attempts" and value]
    lines += [
        f"{'attempt':<12}{each['attempt']}  {each['outcome']}  {each['ended_at']}  {each['worker']}  {each['error']}"
        for each in job["attempts"]
    ]
    print_(job, lines, as_json)


def cancel(name: Name, config: Config = None, data_dir: DataDir = None, as_json: Json = False) -> None:
    """Cancel a job; one that runs is interrupted within a second."""
    _do("cancel", name, config, data_dir, as_json)


def retry(name: Name, config: Config = None, data_dir: DataDir = None, as_json: Json = False) -> None:
    """Queue a failed or cancelled job again, with all its attempts before it."""
    _do("retry", name, config, data_dir, as_json)


def celery(
    queues: Annotated[str, typer.Option(metavar="A,B", help="Only these queues.")] = "",
    concurrency: Annotated[int | None, typer.Option(help="How many jobs at once.", min=1, max=1000)] = None,
    config: Config = None,
    data_dir: DataDir = None,
) -> None:
    """Run a worker of Celery in the foreground, for `jobs.executor: celery`."""
    from portico.runtime.celery import main
    from portico.runtime.find import default_config
    from portico.runtime.options import UpOptions

    options = UpOptions(config or default_config(), None, None, None, "worker", data_dir, False, False)
    wanted = [each for each in queues.split(",") if each]
    raise typer.Exit(main(options, wanted, concurrency))


def _do(what: str, name: str, config: Config, data_dir: DataDir, as_json: bool) -> None:
    from portico.cli.output import show as print_
    from portico.runtime.call import call

    job = call(config, data_dir, f"jobs.{what}", {"id": name})
    state = "is being cancelled" if job["cancelling"] else f"is {job['state']}"
    print_(job, [f"{job['kind']} {job['id']} {state}"], as_json)


def _row(job: dict[str, Any]) -> tuple[object, ...]:
    from portico.cli.output import moment

    plain = (job[name] for name in ("id", "kind", "queue", "tenant", "state", "attempt"))
    return (*plain, moment(job["created_at"]), job["error"][:60])


def _said(value: Any) -> str:
    return json.dumps(value) if isinstance(value, dict) else str(value)
