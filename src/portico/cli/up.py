"""`portico up`: start the gateway."""

from __future__ import annotations

import sys
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from portico.cli import exits
from portico.cli.options import Config, DataDir, Json

if TYPE_CHECKING:
    from portico.runtime.options import UpOptions


class Role(StrEnum):
    """What runs here."""

    ALL = "all"
    EDGE = "edge"
    SERVICES = "services"
    WORKER = "worker"


def run(
    config: Config = None,
    host: Annotated[str | None, typer.Option(help="Listen on this address.")] = None,
    port: Annotated[int | None, typer.Option(help="Listen on this port; 0: any free one.", min=0, max=65535)] = None,
    workers: Annotated[int | None, typer.Option(help="How many edge processes.", min=1, max=256)] = None,
    role: Annotated[Role, typer.Option(help="Run both halves, or one; worker: jobs alone.")] = Role.ALL,
    data_dir: DataDir = None,
    detach: Annotated[bool, typer.Option("--detach", help="Run in the background; return when it is ready.")] = False,
    demo: Annotated[bool, typer.Option("--demo", help="No file: an echo upstream, a key, a limit, a stream.")] = False,
    as_json: Json = False,
) -> None:
    """Start the gateway and serve until it is stopped."""
    from portico.runtime.find import default_config
    from portico.runtime.options import UpOptions

    if demo and config is not None:
        raise typer.BadParameter("--demo writes a configuration of its own; leave out -c", param_hint="--demo")
    file = None if demo else config or default_config()
    options = UpOptions(file, host, port, workers, role.value, data_dir, demo, as_json)
    if role is Role.WORKER:
        raise typer.Exit(_worker(options, detach))
    if detach:
        _detach(options)
        return
    from portico.runtime.supervisor import main

    raise typer.Exit(main(options))


def _worker(options: UpOptions, detach: bool) -> int:
    from portico.runtime.work import main

    if detach or options.demo:
        raise typer.BadParameter("a worker runs in the foreground, on a configuration", param_hint="--role")
    return main(options)


def _detach(options: object) -> None:
    from portico.cli.output import show
    from portico.runtime import banner
    from portico.runtime.build import Builder
    from portico.runtime.demo import Demo
    from portico.runtime.detach import Detached
    from portico.runtime.options import UpOptions

    assert isinstance(options, UpOptions)
    # A wrong file is told here, at once; the background process would only write it to its log.
    data_dir = Demo(options).data_dir if options.demo else Path(Builder(options).build(1).snapshot.data_dir)
    detached = Detached([argument for argument in sys.argv[2:] if argument not in ("--detach", "--json")], data_dir)
    code, status, text = detached.start()
    if code != exits.OK:
        print(text, file=sys.stderr)
        raise typer.Exit(code)
    told = {key: status[key] for key in ("state", "version", "pid", "listeners", "data_dir")}
    told["log"] = str(detached.log)
    lines = [
        f"Portico {status['version']} runs in the background (process {status['pid']})",
        f"  listens  {'  '.join(status['listeners'])}",
        f"  log      {detached.log}",
        *banner.administrator(detached.data_dir, "  admin    "),
        "  stop     portico down" + (f" --data-dir {detached.data_dir}" if options.data_dir else ""),
    ]
    show(told, lines, options.as_json)
