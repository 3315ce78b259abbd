"""All commands, in the order in which `portico --help` lists them."""

from __future__ import annotations

import typer

from portico.cli import (
    audit,
    check,
    db,
    detect,
    down,
    explain,
    jobs,
    keys,
    people,
    plugins,
    reload,
    restart,
    routes,
    schema,
    status,
    token,
    up,
    vault,
    version,
    webhooks,
)


def build() -> typer.Typer:
    """The command line, made anew: nothing is registered by importing a module."""
    app = typer.Typer(
        name="portico",
        help="An API gateway: one command starts it, one file describes it.",
        add_completion=False,
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        rich_markup_mode=None,
        context_settings={"help_option_names": ["-h", "--help"]},
    )
    for module in (up, down, status, reload, restart, check, explain, detect, routes, plugins, schema, version):
        app.command(module.__name__.rpartition(".")[2])(module.run)
    for group in (keys, token, people, audit, jobs, webhooks, vault, db):
        app.add_typer(group.build(), name=group.__name__.rpartition(".")[2])
    return app
