"""Commands on what Portico keeps (`keys.create` …): done by the services of a running gateway, or else here.

Both ways run the same functions, `portico.storage.commands`. While one runs here it holds the lock of `portico.pid`, so
that no gateway starts in between.
"""

from __future__ import annotations

import asyncio
import os
import time
from pathlib import Path
from typing import Any, Final

from portico.errors import AlreadyRunning, NotReady, NotRunning
from portico.runtime import control, find, paths, secret
from portico.runtime.control_server import Reply
from portico.runtime.gather import Answers, Gatherer
from portico.runtime.lock import COMMAND, PidFile
from portico.runtime.tree import Tree

PATIENCE: Final = 30.0  # seconds for one call
SPARE: Final = 5.0  # seconds more that the caller of a control socket waits
STARTING: Final = 10.0  # seconds in which a gateway that is starting should be able to take a call
STEP: Final = 0.05


def call(config: Path | None, data_dir: Path | None, name: str, arguments: dict[str, Any]) -> dict[str, Any]:
    """What the command answers. Blocks for at most 45 s.

    ControlError, VaultError, StorageError or CommandError, each in one sentence.
    """
    where = paths.prepare_data_dir(find.locate(config, data_dir))
    deadline = time.monotonic() + STARTING
    lock = PidFile(where)
    while True:
        try:
            lock.acquire(COMMAND)
        except AlreadyRunning:
            try:
                return control.ask(where, "services", PATIENCE + SPARE, call={"name": name, "arguments": arguments})
            except (NotRunning, NotReady):  # it is starting, or it is another command
                if time.monotonic() > deadline:
                    raise
            time.sleep(STEP)
            continue
        try:
            return _here(config, where, name, arguments)
        finally:
            lock.release()


def _here(config: Path | None, data_dir: Path, name: str, arguments: dict[str, Any]) -> dict[str, Any]:
    """Open the vault and the database, and do it."""
    from portico.runtime.build import Builder
    from portico.runtime.options import UpOptions
    from portico.services.commands import run
    from portico.storage.database import Database
    from portico.storage.vault import Vault, slots
    from portico.storage.vault.binding import open_database

    passphrase = secret.take(os.environ)
    settings = Builder(UpOptions(config=config or find.default_config(), data_dir=data_dir)).settings()
    sqlite = settings.storage.url.startswith("sqlite:")
    if sqlite and not name.endswith(".create") and not any(data_dir.glob("*.db")):
        slots.load(data_dir)  # looking makes no vault, which would decide what opens it without anybody's saying so
    vault = Vault.open(data_dir, passphrase)

    async def work() -> dict[str, Any]:
        database = Database(settings.storage.url, data_dir, vault.key("database"))
        try:
            await open_database(vault, database)
            return await run(name, database, vault, settings.plain_identity, arguments)
        finally:
            await database.close()

    return asyncio.run(work())


def answer(gatherer: Gatherer, tree: Tree, role: str, called: Any, reply: Reply) -> None:
    """The supervisor's part: one services process that is ready does it; nothing of it is logged here."""
    if not isinstance(called, dict):
        reply({"ok": False, "error": "services needs a call: {name, arguments}"})
        return
    if not tree.of("services"):
        reply({"ok": False, "error": f"this gateway runs no services (--role {role})"})
        return
    ready = tree.ready("services")
    if not ready:
        reply({"ok": False, "error": "the services are not ready; ask again in a moment", "not_ready": True})
        return

    def arrived(answers: Answers) -> None:
        lost = f"the services ended, or did not answer within {PATIENCE:g} s; look whether it was done"
        body = answers[0][1] if answers else {"error": lost}
        if "error" in body:
            reply({"ok": False, "error": body["error"], "hint": body.get("hint", "")})
        else:
            reply({"ok": True, "body": body["result"]})

    gatherer.ask(ready[:1], "call", arrived, PATIENCE, call=called)
