"""What `portico keys …` and its kin ask of a running gateway, done with the services' vault and database."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Final

from portico.contracts import Identity
from portico.errors import CommandError, PorticoError
from portico.kernel.container import ServiceContainer
from portico.telemetry import logs

if TYPE_CHECKING:
    from portico.storage.database import Database
    from portico.storage.vault import Vault

PATIENCE: Final = 30.0  # seconds


async def run(
    name: str, database: Database, vault: Vault, identity: Identity, arguments: dict[str, Any]
) -> dict[str, Any]:
    """Do one command of `portico.storage.commands` or `portico.jobs.commands`, with or without a gateway.

    CommandError when there is none of that name.
    """
    from portico.jobs.commands import COMMANDS as JOBS
    from portico.storage.audit import acting, operator
    from portico.storage.commands import COMMANDS

    function = {**COMMANDS, **JOBS}.get(name)
    if function is None:
        raise CommandError(f"there is no command {name!r}")
    with acting(operator()):
        return await function(database, vault, {**arguments, **_of_settings(name, identity)})


def _of_settings(name: str, identity: Identity) -> dict[str, Any]:
    """The arguments that the configuration decides, not the caller."""
    roles = {"known_roles": [role.name for role in identity.roles]}
    match name:
        case "people.create":
            return roles
        case "token.create":
            return {**roles, "issuer": identity.tokens.issuer, "algorithm": identity.tokens.algorithm}
    return {}


async def answer(services: ServiceContainer, identity: Identity, called: Any) -> dict[str, Any]:
    """{"result": …}, or {"error", "hint"} in one sentence. Neither arguments nor results are logged: they hold keys."""
    from portico.storage.database import Database
    from portico.storage.vault import Vault

    name, arguments = (called.get("name"), called.get("arguments")) if isinstance(called, dict) else (None, None)
    if not isinstance(name, str) or not isinstance(arguments, dict):
        return {"error": "a call is {name, arguments}"}
    if not services.has(Database):
        return {"error": "this gateway has no database: the plugin `storage` is off"}
    try:
        async with asyncio.timeout(PATIENCE):
            return {"result": await run(name, services.get(Database), services.get(Vault), identity, arguments)}
    except PorticoError as error:
        return {"error": str(error), "hint": error.hint}
    except TimeoutError:
        return {"error": f"{name} was not done within {PATIENCE:g} s"}
    except Exception as error:
        logs.get("portico.services").error("a command failed", command=name, exc_info=error)
        return {"error": f"{name} failed: {type(error).__name__}; the log has more"}
