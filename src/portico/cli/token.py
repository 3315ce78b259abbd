"""`portico token`: tokens (JWT) for programs and for the operator, made without a password."""

from __future__ import annotations

from typing import Annotated

import typer

from portico.cli.options import Config, DataDir, Json


def build() -> typer.Typer:
    """The subcommands."""
    group = typer.Typer(help="Make tokens (JWT).", no_args_is_help=True)
    group.callback()(_group)
    group.command("create")(create)
    return group


def _group() -> None:
    """Make tokens (JWT)."""


def create(
    role: Annotated[list[str], typer.Option(metavar="ROLE", help="admin, operator, user, viewer …; again for more.")],
    ttl: Annotated[str, typer.Option(metavar="TIME", help="How long it is valid.")] = "1h",
    permission: Annotated[
        list[str] | None, typer.Option(metavar="PERMISSION", help="Beside those of the roles; again for more.")
    ] = None,
    name: Annotated[str, typer.Option(metavar="NAME", help="What it is for.")] = "",
    tenant: Annotated[str, typer.Option(metavar="TENANT", help="Whom it belongs to.")] = "default",
    config: Config = None,
    data_dir: DataDir = None,
    as_json: Json = False,
) -> None:
    """Make a token and print it, once."""
    from portico.cli.output import show
    from portico.runtime.call import call

    asked = {"roles": role, "ttl": ttl, "permissions": permission or [], "name": name, "tenant": tenant}
    made = call(config, data_dir, "token.create", asked)
    lines = [
        f"token    {made['token']}",
        f"holder   {made['id']}",
        f"expires  {made['expires_at']}",
        "This is the only time that the token is shown. It is sent as `Authorization: Bearer TOKEN`.",
        f"`portico people disable {made['id']}` ends it before its time.",
    ]
    show(made, lines, as_json)
