"""The keys of one issuer that publishes them: fetched, checked, kept through an outage, fetched again in time."""

from __future__ import annotations

import asyncio
import random
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from portico import contracts
from portico.errors import OutboundError
from portico.outbound import Answer, Bounds, Client
from portico.services.auth import keysets
from portico.services.auth.keysets import Jwk, KeySetError
from portico.telemetry import logs

EVERY: Final = 300.0  # seconds between two fetches, unless the answer says how long it is fresh
SHORTEST: Final = 60.0
LONGEST: Final = 3600.0
FLOOR: Final = 10.0  # seconds between two fetches that are asked for, and before the first repetition of a failed one
PATIENCE: Final = 1.0  # seconds that someone waits for a fetch that they have asked for
BOUNDS: Final = Bounds(total=10.0, body=keysets.MOST_BYTES, redirects=0)
WELL_KNOWN: Final = "/.well-known/openid-configuration"
_MAX_AGE: Final = re.compile(r"(?:^|,)\s*max-age\s*=\s*\"?(\d{1,9})", re.IGNORECASE)
_NOT_KEPT: Final = re.compile(r"(?:^|,)\s*no-(?:store|cache)\b", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Report:
    """How an issuer's keys stand; times are seconds since 1970, 0: never. `error` is shown to operators."""

    name: str
    keys: int
    fetched_at: float
    error: str


class RemoteKeys:
    """Begins with no key. The last good set counts until a better one comes, however long the issuer is away.

    It is kept in memory only: after a restart during an outage nobody can be verified until the issuer is back.
    """

    def __init__(
        self, client: Client, spec: contracts.Issuer, on_change: Callable[[], None], floor: float = FLOOR
    ) -> None:
        self.spec = spec
        self.keys: list[Jwk] = []
        self.fetched_at = 0.0
        self.error = ""
        self._client = client
        self._on_change = on_change
        self._floor = floor
        self._began = float("-inf")  # monotonic, of the last fetch
        self._failures = 0
        self._fresh = EVERY
        self._fetching: asyncio.Task[None] | None = None
        self._timer: asyncio.Task[None] | None = None
        self._ended = asyncio.Event()  # a fetch has, and with it when the next is due
        self._log = logs.get("portico.auth")

    def start(self) -> asyncio.Task[None]:
        """Begin to fetch; the task is the first fetch, which never fails."""
        first = self._begin()
        self._timer = asyncio.create_task(self._run())
        return first

    async def stop(self) -> None:
        """Fetch no more; may be called twice."""
        for task in (self._timer, self._fetching):
            if task is not None:
                task.cancel()
                await asyncio.gather(task, return_exceptions=True)
        self._timer = self._fetching = None

    async def refresh(self) -> None:
        """Fetch now, unless that was done less than the floor ago; those who ask meanwhile wait for the same fetch.

        Waits at most a second; the fetch goes on.
        """
        if self._fetching is None and time.monotonic() - self._began < self._floor:
            return
        task = self._begin()
        await asyncio.wait([task], timeout=PATIENCE)

    def report(self) -> Report:
        """How it stands."""
        return Report(self.spec.name, len(self.keys), self.fetched_at, self.error)

    def _begin(self) -> asyncio.Task[None]:
        if self._fetching is None:
            self._began = time.monotonic()
            self._fetching = asyncio.create_task(self._fetch())
            self._fetching.add_done_callback(self._has_ended)
        return self._fetching

    def _has_ended(self, task: asyncio.Task[None]) -> None:
        if self._fetching is task:
            self._fetching = None
        self._ended.set()

    async def _run(self) -> None:
        while True:
            self._ended.clear()
            if self._fetching is None:
                wait = self._began + self.pause() - time.monotonic()
                try:
                    async with asyncio.timeout(max(0.0, wait)):
                        await self._ended.wait()
                except TimeoutError:
                    self._begin()
            else:
                await self._ended.wait()

    def pause(self) -> float:
        """Seconds from one fetch to the next by the clock: freshness, or after failures a back-off from the floor."""
        if not self._failures:
            return self._fresh
        return min(EVERY, self._floor * 2.0 ** min(self._failures - 1, 10)) * random.uniform(0.8, 1.2)

    async def _fetch(self) -> None:
        try:
            keys, fresh = await self._load()
        except (OutboundError, KeySetError) as error:
            self._failures += 1
            if self.error != str(error):
                self._log.warning("keys of an issuer could not be fetched", issuer=self.spec.name, cause=str(error))
            self.error = str(error)
            return
        if self.error:
            self._log.info("keys of an issuer can be fetched again", issuer=self.spec.name)
        changed = keys != self.keys
        self.keys, self._fresh, self.fetched_at = keys, fresh, time.time()
        self.error, self._failures = "", 0
        if changed:
            self._on_change()

    async def _load(self) -> tuple[list[Jwk], float]:
        url = self.spec.jwks or await self._discover()
        answer = await self._get(url)
        return keysets.parse(answer.body, self.spec.algorithms), freshness(answer.header("cache-control"))

    async def _discover(self) -> str:
        """Where the issuer says that its keys are (OpenID Connect Discovery 1.0, 4)."""
        base = self.spec.discovery
        found = keysets.document((await self._get(base.rstrip("/") + WELL_KNOWN)).body)
        if found.get("issuer") != self.spec.issuer:  # 4.3: exactly
            raise KeySetError("the discovery document is of another issuer")
        url = found.get("jwks_uri")
        if not isinstance(url, str) or (base.startswith("https://") and not url.startswith("https://")):
            raise KeySetError("the discovery document names no place of keys that can be used")
        return url

    async def _get(self, url: str) -> Answer:
        answer = await self._client.get(url, {"Accept": "application/json"}, BOUNDS, "issuer_keys")
        if answer.status != 200:
            raise KeySetError(f"the issuer answered {answer.status}")
        return answer


def freshness(cache_control: str) -> float:
    """Seconds that an answer may be used, by its Cache-Control, between a minute and an hour."""
    if _NOT_KEPT.search(cache_control):
        return SHORTEST
    age = _MAX_AGE.search(cache_control)
    return min(max(float(age[1]), SHORTEST), LONGEST) if age else EVERY
