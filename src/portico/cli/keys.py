"""`portico keys`: make API keys, and end them; beside a running gateway or without one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Final

import typer

from portico.cli.options import After, Config, DataDir, Json, Limit

COLUMNS: Final = ("id", "name", "begins", "state", "permissions", "limits", "tenant", "expires", "last used")

Id = Annotated[str, typer.Argument(metavar="ID", help="The key's id (`portico keys list`), not the key.")]


def build() -> typer.Typer:
    """The subcommands."""
    group = typer.Typer(help="Make, list, rotate and revoke API keys.", no_args_is_help=True)
    for name, run in (("create", create), ("list", show_all), ("show", show), ("rotate", rotate), ("revoke", revoke)):
        group.command(name)(run)
    return group


def create(
    name: Annotated[str, typer.Option(metavar="NAME", help="What or whom the key is for.")],
    window: Annotated[str, typer.Option(metavar="N/UNIT", help="At most so many in any span: 60/minute.")] = "",
    rate: Annotated[str, typer.Option(metavar="N/UNIT", help="A steady rate instead of a window.")] = "",
    burst: Annotated[int | None, typer.Option(metavar="N", help="With --rate: so many at once.", min=1)] = None,
    quota: Annotated[str, typer.Option(metavar="N/day", help="At most so many a day: 10000/day.")] = "",
    permission: Annotated[
        list[str] | None, typer.Option(metavar="PERMISSION", help="users:read, users:* or *; again for more.")
    ] = None,
    tenant: Annotated[str, typer.Option(metavar="TENANT", help="Whom it belongs to.")] = "default",
    expires: Annotated[str | None, typer.Option(metavar="TIME", help="How long it is valid: 30d.")] = None,
    network: Annotated[
        list[str] | None, typer.Option(metavar="CIDR", help="From where it may be used; again for more.")
    ] = None,
    config: Config = None,
    data_dir: DataDir = None,
    as_json: Json = False,
) -> None:
    """Make a key and print it, once. Without --window or --rate it may 60 a minute, without --quota 10000 a day."""
    from portico.cli.output import show as told
    from portico.runtime.call import call

    arguments = {
        "name": name, "window": window, "rate": rate, "burst": burst, "quota": quota, "tenant": tenant,
        "permissions": permission or [], "expires": expires, "networks": network or [],
    }  # fmt: skip
    made = call(config, data_dir, "keys.create", arguments)
    told({"id": made["id"], "key": made["key"]}, _new(made), as_json)


def show_all(
    tenant: Annotated[str, typer.Option(metavar="TENANT", help="Those of one tenant.")] = "",
    active: Annotated[bool, typer.Option("--active", help="Only those that work.")] = False,
    after: After = "",
    limit: Limit = 50,
    config: Config = None,
    data_dir: DataDir = None,
    as_json: Json = False,
) -> None:
    """List the keys, oldest first; the keys themselves are kept nowhere."""
    from portico.cli.output import more, table
    from portico.cli.output import show as told
    from portico.runtime.call import call

    asked = {"tenant": tenant, "active": active, "after": after, "limit": limit}
    page = call(config, data_dir, "keys.list", asked)
    lines = table(COLUMNS, (_row(key) for key in page["items"])) if page["items"] else ["there are no keys"]
    told(page, [*lines, *more("keys list", page)], as_json)


def show(id: Id, config: Config = None, data_dir: DataDir = None, as_json: Json = False) -> None:  # noqa: A002
    """Show one key: what it may, until when, and when it was last used."""
    from portico.cli.output import show as told
    from portico.runtime.call import call

    key = call(config, data_dir, "keys.show", {"id": id})
    told(key, _lines(key), as_json)


def rotate(
    id: Id,  # noqa: A002
    grace: Annotated[str, typer.Option(metavar="TIME", help="How long the old key goes on working.")] = "1h",
    config: Config = None,
    data_dir: DataDir = None,
    as_json: Json = False,
) -> None:
    """Make a successor with the same rights and print it, once. The old key works until the grace is over."""
    from portico.cli.output import show as told
    from portico.runtime.call import call

    made = call(config, data_dir, "keys.rotate", {"id": id, "grace": grace})
    old = f"The old key works for {grace} more; `portico keys revoke {made['id']}` ends both."
    lines = [*_new(made), old if any(digit in grace for digit in "123456789") else "The old key is ended."]
    told({"id": made["id"], "key": made["key"], "replaces": id}, lines, as_json)


def revoke(id: Id, config: Config = None, data_dir: DataDir = None, as_json: Json = False) -> None:  # noqa: A002
    """End a key, and those before it in their grace. A running gateway refuses them within a second."""
    from portico.cli.output import show as told
    from portico.runtime.call import call

    done = call(config, data_dir, "keys.revoke", {"id": id})
    told(
        done, [f"revoked: {id}" if done["revoked"] else f"{id} had been revoked before, or its time was over"], as_json
    )


def _new(key: dict[str, Any]) -> Iterator[str]:
    yield f"key     {key['key']}"
    yield f"id      {key['id']}"
    yield f"limits  {_limits(key)}"
    yield f"may     {', '.join(key['permissions']) or 'only what needs no permission'}"
    yield "This is the only time that the key is shown. It is sent as `X-API-Key: KEY` or `Authorization: Bearer KEY`."


def _lines(key: dict[str, Any]) -> Iterator[str]:
    for name, value in (
        ("id", key["id"]),
        ("name", key["name"]),
        ("begins", key["hint"]),
        ("state", _state(key)),
        ("tenant", key["tenant"]),
        ("owner", key["owner"]),
        ("may", ", ".join(key["permissions"])),
        ("limits", _limits(key)),
        ("networks", ", ".join(key["networks"])),
        ("created", key["created_at"]),
        ("expires", key["expires_at"]),
        ("last used", key["last_used_at"]),
        ("replaces", key["replaces"]),
    ):
        yield f"{name:<10} {value or '-'}"


def _row(key: dict[str, Any]) -> tuple[str, ...]:
    from portico.cli.output import moment

    return (
        key["id"],
        key["name"],
        key["hint"],
        _state(key),
        ",".join(key["permissions"]),
        _limits(key),
        key["tenant"],
        moment(key["expires_at"]),
        moment(key["last_used_at"]),
    )


def _state(key: dict[str, Any]) -> str:
    return "active" if key["is_active"] else "ended"


def _limits(key: dict[str, Any]) -> str:
    rate = f"{key['rate']} burst {key['burst']}" if key["rate"] and key["burst"] else key["rate"]
    each = (
        f"{key['per_minute']}/minute" if key["per_minute"] else "",
        key["window"],
        rate,
        f"{key['per_day']}/day" if key["per_day"] else "",
        key["quota"],
    )
    return ", ".join(limit for limit in each if limit) or "none"
