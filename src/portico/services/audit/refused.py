"""Refusals of the services, gathered for a second and then recorded as those of the edge are."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from typing import Any, Final

from starlette.types import Scope

from portico.errors import StorageError
from portico.identity.principal import Principal
from portico.storage.audit import present, refusals
from portico.storage.database import Database
from portico.storage.ids import is_id
from portico.telemetry import logs

EVERY: Final = 1.0  # seconds
ROWS: Final = 100  # of a second that keep their request; of the rest only the number is kept
CREDENTIALS: Final = (401, 403, 429)
SAFE: Final = ("GET", "HEAD", "OPTIONS")


class Refusals:
    """Keeps what was refused until it is written; while the database is away, only how often by code."""

    def __init__(self, db: Database) -> None:
        self._db = db
        self._rows: list[list[Any]] = []
        self._counts: dict[str, int] = {}
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to write."""
        self._task = asyncio.create_task(self._run())

    async def stop(self) -> None:
        """Write what is left; may be called twice."""
        task, self._task = self._task, None
        if task is None:
            return
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        await self._write()

    def add(self, scope: Scope, status: int) -> None:
        """Take note of a refusal of credentials, or of something that would have changed what is kept."""
        if scope["type"] != "http" or (status not in CREDENTIALS and scope["method"] in SAFE):
            return
        state = scope.get("state", {})
        code = str(state.get("code") or status)  # a plugin's own answer has none
        if len(self._rows) >= ROWS:
            self._counts[code] = self._counts.get(code, 0) + 1
            return
        origin, principal = present(), state.get("principal")
        template = getattr(scope.get("route"), "path", "")
        route = f"{scope['method']} {template}" if template else ""
        row: list[Any] = [code, origin.source, route, 1, origin.request_id, _path(template, scope)]
        if isinstance(principal, Principal):
            row += [principal.kind, principal.id, principal.tenant]
        elif about := state.get("about"):
            row += ["anonymous", "", about[1], about[0]]
        self._rows.append(row)

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(EVERY)
            try:
                await self._write()
            except Exception as error:  # a mistake of our own must not end the recording
                logs.get("portico.audit").error("refusals were not recorded", exc_info=error)

    async def _write(self) -> None:
        rows, self._rows = self._rows, []
        counts, self._counts = self._counts, {}
        if not rows and not counts:
            return
        counted = [[code, "", "", count, "", ""] for code, count in counts.items()]
        record = {"kind": "refused", "at": time.time(), "rows": rows + counted}
        try:
            async with self._db.write() as session:
                await refusals.take(session, [record])
        except StorageError as error:
            logs.get("portico.audit").error("refusals can't be recorded yet", refusals=len(rows), cause=str(error))
            for code, *_, count, _, _ in (*rows, *counted):
                self._counts[code] = self._counts.get(code, 0) + count


def _path(template: str, scope: Scope) -> str:
    """The path of the request with the ids that it names; whatever else stands in a path may be a secret."""
    for name, value in scope.get("path_params", {}).items():
        if is_id(str(value)):
            template = template.replace(f"{{{name}}}", str(value))
    return template
