"""`portico people`: those who log in with a password, and the holders of tokens."""

from __future__ import annotations

import sys
from typing import Annotated, Any, Final

import typer

from portico.cli.options import After, Config, DataDir, Json, Limit

COLUMNS: Final = ("id", "e-mail", "name", "roles", "tenant", "state", "created")


def build() -> typer.Typer:
    """The subcommands."""
    group = typer.Typer(help="People: create, list, disable.", no_args_is_help=True)
    for name, run in (("create", create), ("list", show_all), ("disable", disable), ("enable", enable)):
        group.command(name)(run)
    return group


def create(
    email: Annotated[str, typer.Argument(metavar="EMAIL", help="With which the person logs in.")],
    role: Annotated[list[str] | None, typer.Option(metavar="ROLE", help="user by default; again for more.")] = None,
    name: Annotated[str, typer.Option(metavar="NAME", help="What the person is called.")] = "",
    tenant: Annotated[str, typer.Option(metavar="TENANT", help="Whom the person belongs to.")] = "default",
    password_stdin: Annotated[
        bool, typer.Option("--password-stdin", help="Take the password from the first line of standard input.")
    ] = False,
    config: Config = None,
    data_dir: DataDir = None,
    as_json: Json = False,
) -> None:
    """Create a person. The password is asked for at the terminal."""
    from portico.cli.output import show
    from portico.runtime.call import call

    asked = {"email": email, "name": name, "roles": role or ["user"], "tenant": tenant}
    made = call(config, data_dir, "people.create", {**asked, "password": _password(password_stdin)})
    lines = [f"created  {made['email']} ({made['id']}), roles {', '.join(made['roles'])}"]
    if not made["has_password"]:
        lines.append("There is no password, so nobody can log in as this person yet: --password-stdin takes one, and")
        lines.append(f"an administrator sets one with PATCH /api/v1/admin/users/{made['id']}.")
    show(made, lines, as_json)


def show_all(
    tenant: Annotated[str, typer.Option(metavar="TENANT", help="Those of one tenant.")] = "",
    after: After = "",
    limit: Limit = 50,
    config: Config = None,
    data_dir: DataDir = None,
    as_json: Json = False,
) -> None:
    """List people and holders of tokens, oldest first."""
    from portico.cli.output import more, show, table
    from portico.runtime.call import call

    page = call(config, data_dir, "people.list", {"tenant": tenant, "after": after, "limit": limit})
    lines = table(COLUMNS, (_row(person) for person in page["items"])) if page["items"] else ["there is nobody"]
    show(page, [*lines, *more("people list", page)], as_json)


Who = Annotated[str, typer.Argument(metavar="ID|EMAIL", help="Whom.")]


def disable(who: Who, config: Config = None, data_dir: DataDir = None, as_json: Json = False) -> None:
    """Let a person in no more. Sessions, tokens and keys of theirs end within a second."""
    _set(who, True, config, data_dir, as_json)


def enable(who: Who, config: Config = None, data_dir: DataDir = None, as_json: Json = False) -> None:
    """Let a person in again; earlier sessions and tokens stay ended."""
    _set(who, False, config, data_dir, as_json)


def _set(who: str, disabled: bool, config: Config, data_dir: DataDir, as_json: bool) -> None:
    from portico.cli.output import show
    from portico.runtime.call import call

    named = {"email": who} if "@" in who else {"id": who}
    person = call(config, data_dir, "people.disable", {**named, "disabled": disabled})
    show(person, [f"{'disabled' if disabled else 'enabled'}: {person['email'] or person['name']}"], as_json)


def _password(from_input: bool) -> str | None:
    """From standard input, or asked for twice at a terminal; None where there is neither."""
    if from_input:
        return sys.stdin.readline().rstrip("\r\n")
    if not sys.stdin.isatty():
        return None
    password: str = typer.prompt("Password", hide_input=True, confirmation_prompt=True, err=True)
    return password


def _row(person: dict[str, Any]) -> tuple[str, ...]:
    from portico.cli.output import moment

    return (
        person["id"],
        person["email"],
        person["name"],
        ",".join(person["roles"]),
        person["tenant"],
        "disabled" if person["disabled"] else "active",
        moment(person["created_at"]),
    )
