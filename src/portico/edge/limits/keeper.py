"""What one edge worker keeps for all its limits: the ledger of quotas, or its side of a store that workers share.

A worker beats: twice a second it says that it is alive and learns the epoch, under whose name all buckets are. When the
store has lost what it knew (it was flushed, restarted, or another server answers), a new epoch begins, with empty
buckets. Without a beat nothing is asked of the store, and each limit does what its `on_store_failure` says.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import time
from collections.abc import Callable, Iterable
from typing import Any, Final

from portico.contracts import Snapshot
from portico.edge.context import PolicyContext
from portico.edge.exchange import Step
from portico.edge.limits.gate import GRANTED, made
from portico.edge.limits.ledger import Ledger
from portico.edge.limits.parts import DEBT, Entry, Part, Table
from portico.edge.limits.twins import SCRIPTS
from portico.edge.policies.key_limits import OWNER, config_of
from portico.edge.policies.limits import SHARED
from portico.edge.policies.quota import LEDGER
from portico.edge.policies.store import KEPT_VERSIONS
from portico.errors import StateUnavailable
from portico.state import Store, make
from portico.telemetry import logs

WRITTEN: Final = 1.0  # seconds between two writings of the ledger
BEAT: Final = 0.5  # seconds
ALIVE: Final = 2_000_000  # microseconds that a worker lives without a beat
SETTLE: Final = 2_000_000  # microseconds in which all workers find a store again that was away
MARGIN: Final = 0.05  # seconds
REFRESH: Final = 20.0  # seconds between two tellings of slots that are held
TOLD: Final = 100  # buckets in one telling
LEFT: Final = 3  # where in an answer is what the first bucket has left
KNOWN: Final = 1024  # different limits of keys that are kept ready
MARKER: Final = "limits:epoch"
REGISTRY: Final = "limits:workers"
EPOCH_FILE: Final = "limits.epoch"  # the last epoch known, so that workers that start after a loss know of it

Question = tuple[str, list[str | int]]
Owed = tuple[int, int]  # a mark, and what is owed there
NOTHING: Final = (0, 0)


class Keeper:
    """Started before the first plan is built, stopped after the last exchange."""

    def __init__(
        self,
        snapshot: Snapshot,
        directory: str,
        index: int,
        store: Store | None = None,
        clock: Callable[[], float] = time.monotonic,
        micros: Callable[[], int] | None = None,
    ) -> None:
        self.ledger: Ledger | None = None
        self.store = store
        self.spec = snapshot.state
        self.clock = clock
        self.micros = micros  # the store's clock; None: its own
        self.configured = snapshot.server.workers
        self.workers = snapshot.server.workers
        self.name = secrets.token_hex(6)
        self.path = os.path.join(directory, EPOCH_FILE)
        self.epoch = ""
        self.ready = False
        self.away_since = 0.0
        self.share_at = 0.0  # from when rates are counted together again
        self.shared = 0  # the same by the store's clock
        self.shared_out = False  # a rate has granted a share since the last beat
        self.holding: dict[int, tuple[Part, Entry]] = {}
        self.leases: dict[int, tuple[Part, Entry]] = {}
        self.tables: dict[str, Table] = {}
        self.version = 0
        self._keys: dict[tuple[tuple[tuple[str, str, int], ...], int], list[Part]] = {}
        self._dirty: dict[int, tuple[Part, Entry]] = {}
        self._telling = False
        self._refreshed = 0.0
        self._written = 0.0
        self._beat_now = asyncio.Event()
        self._tasks: set[asyncio.Task[None]] = set()
        self._context: PolicyContext | None = None
        self._beats: asyncio.Task[None] | None = None
        if self.spec.url.startswith("memory:") and store is None:
            self.ledger = Ledger(directory, f"{index}/{self.workers}" if self.workers > 1 else "")

    def share(self, shared: dict[Any, Any]) -> None:
        """Give the policies what they ask for."""
        if self.ledger is not None:
            shared[LEDGER] = self.ledger
        else:
            shared[SHARED] = self

    async def start(self) -> None:
        """Read what was kept, or connect; a store that is away stops nothing."""
        if self.ledger is not None:
            self.ledger.open(time.time())
            return
        self.away_since = self.clock()
        self.epoch = self._last_epoch()
        if self.store is None:
            self.store = make(self.spec)
        for script in SCRIPTS:
            self.store.register(script)
        self.store.on_change(self._changed)
        await self.store.start()
        with contextlib.suppress(StateUnavailable):
            await self.beat()
        self._beats = self._spawn(self._beating())

    def turn(self, now: float) -> None:
        """Called several times a second; `now` is monotonic."""
        if self.ledger is not None:
            if now - self._written >= WRITTEN:
                self._written = now
                self.ledger.flush(time.time())
            return
        self._give_back(now)
        if self.holding and now - self._refreshed >= REFRESH:
            self._refreshed = now
            self._dirty.update(self.holding)
            self._tell_soon()

    async def stop(self) -> None:
        """Write what is left, or give it back."""
        if self.ledger is not None:
            self.ledger.close(time.time())
        if self.store is None:
            return
        if self._beats is not None:
            self._beats.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)  # none takes longer than the store may
        await self._tell()
        self._give_back(float("inf"))
        for task in list(self._tasks):
            await task
        if self.ledger is None:
            await self.store.stop()

    # -- for gates

    def step(self, name: str, config: dict[str, Any], context: PolicyContext) -> Step:
        """The step of one shared limit; `key_limits` are those that keys bring."""
        self._use(context.snapshot.version)
        gate = made(context.notes, self)
        if name == "key_limits":
            self._context = context
            gate.key_cost = config.get("cost")
            return gate.step(name, None)
        kind = "slots" if name == "concurrent" else name
        return gate.step(name, self._part(kind, config, context, context.route.name))

    def key_parts(
        self, specs: tuple[tuple[str, str, int], ...], cost: dict[str, Any] | None = None
    ) -> list[Part]:  # fmt: skip
        """The limits that a key brings, on a route where a request costs them `cost` (None: 1)."""
        known = specs, 0 if cost is None else int(cost["most"])
        parts = self._keys.get(known)
        if parts is None:
            assert self._context is not None
            if len(self._keys) >= KNOWN:
                self._keys.clear()
            context = self._context
            parts = [
                self._part(kind, config_of(kind, name, burst, cost), context, OWNER) for kind, name, burst in specs
            ]
            for part in parts:
                part.debt = DEBT  # which other routes may have left
            self._keys[known] = parts
        return parts

    def usable(self, part: Part, now: float) -> bool:
        """Whether the store can be asked for this limit."""
        return self.ready and (part.mode != "share" or part.kind != "rate" or now >= self.share_at)

    def question(self, part: Part, entry: Entry, want: int, back: int, owed: Owed = NOTHING) -> Question:
        """What `take` asks for one bucket; `owed` is what is settled by it."""
        since = mark = 0
        if part.kind == "rate" and part.mode == "share":
            since = self.shared
        elif part.kind == "slots":
            back = entry.held
        elif part.kind == "quota":
            mark = entry.mark
            if entry.epoch not in ("", self.epoch):
                since = part.most - entry.left
        else:
            mark = entry.mark
        key = f"limits:{self.epoch}:{part.kind}:{entry.digest}"
        if owed[1]:
            since = since if mark == owed[0] or part.kind == "rate" else 0
            mark = owed[0]
        asked = [part.most, part.unit, want, back, part.lapse_units, since, mark, part.need, owed[1], part.debt]
        return key, [part.kind, *asked]

    async def take(self, questions: Iterable[Question], looks: bool = False) -> list[int]:
        """The store's answer; StateUnavailable also when the epoch is over."""
        assert self.store is not None, "start comes first"
        keys = [MARKER, REGISTRY]
        args: list[str | int] = [self.micros() if self.micros else 0, self.epoch, self.name, int(looks)]
        for key, asked in questions:
            keys.append(key)
            args += asked
        answer = await self.store.script("limits.take", keys, args)
        assert isinstance(answer, list)
        if answer[0] == -1:
            self._changed(False)
            self._beat_now.set()
            raise StateUnavailable("the store has forgotten what it knew")
        return [int(each) for each in answer]  # type: ignore[arg-type]

    def leased(self, part: Part, entry: Entry) -> None:
        """A lease was taken; what is left of it when it lapses is given back."""
        self.leases[id(entry)] = part, entry

    def tell(self, part: Part, entry: Entry) -> None:
        """The worker holds another number of slots: tell the store, soon."""
        if entry.held <= 0:
            self.holding.pop(id(entry), None)
        self._dirty[id(entry)] = part, entry
        self._tell_soon()

    def owe(self, part: Part, entry: Entry, mark: int, epoch: str, more: int) -> None:
        """A request has cost so many more than were reserved at `mark`, or fewer: tell the store, soon.

        What buckets that are no more have counted can't be given back.
        """
        if more > 0 or epoch == self.epoch:
            entry.owes[mark] = entry.owes.get(mark, 0) + more
            self._dirty[id(entry)] = part, entry
            self._tell_soon()

    # -- the beat

    async def beat(self) -> None:
        """Say that this worker lives, and learn the epoch; StateUnavailable."""
        assert self.store is not None, "start comes first"
        sent, told = self.clock(), self.shared_out
        args: list[str | int] = [
            self.micros() if self.micros else 0, self.name, self.epoch or "-", secrets.token_hex(8), ALIVE, int(told),
            SETTLE,
        ]  # fmt: skip
        answer = await self.store.script("limits.beat", [MARKER, REGISTRY], args)
        assert isinstance(answer, list)
        now, epoch, _, shared, count = answer
        assert isinstance(epoch, bytes)
        assert isinstance(now, int)
        assert isinstance(shared, int)
        assert isinstance(count, int)
        if told:
            self.shared_out = False
        if shared != self.shared:
            self.shared = shared
            self.share_at = sent + (shared - now) / 1e6 + MARGIN
            if self.ready:
                self.away_since = sent
        self.workers = max(self.configured, count)
        self.ready = True
        self._adopt(epoch.decode())

    def _adopt(self, epoch: str) -> None:
        if epoch != self.epoch:
            if self.epoch:
                log = logs.get("portico.limits")
                log.warning("the shared state has lost the counts of limits; they begin anew, used up")
            self.epoch = epoch
            for _, entry in self._dirty.values():
                entry.owes = {mark: more for mark, more in entry.owes.items() if more > 0}
            self._dirty.update(self.holding)
            try:
                with open(self.path, "w") as file:
                    file.write(epoch)
            except OSError as error:
                logs.get("portico.limits").warning("the epoch of limits can't be kept", cause=str(error.strerror))
        if self._dirty:
            self._tell_soon()

    def _last_epoch(self) -> str:
        try:
            with open(self.path) as file:
                found = file.read(64)
        except OSError:
            return ""
        return found if found.isalnum() else ""

    async def _beating(self) -> None:
        while True:
            try:
                async with asyncio.timeout(BEAT):
                    await self._beat_now.wait()
            except TimeoutError:
                pass
            self._beat_now.clear()
            try:
                await self.beat()
            except StateUnavailable:
                self._changed(False)

    def _changed(self, is_there: bool) -> None:
        """The store has gone, or is there again: then it must say first which epoch it is."""
        if is_there:
            self._beat_now.set()
        elif self.ready:
            self.ready = False
            if self.clock() >= self.share_at:
                self.away_since = self.clock()

    # -- telling

    def _give_back(self, now: float) -> None:
        """What is left of leases that have lapsed; a rate's comes back by itself."""
        lapsed = [each for each in self.leases.values() if each[1].until <= now]
        questions: list[Question] = []
        for part, entry in lapsed:
            del self.leases[id(entry)]
            left, entry.remaining = entry.remaining, 0
            if left > 0 and part.kind != "rate" and self.ready:
                questions.append(self.question(part, entry, 0, left))
        for at in range(0, len(questions), TOLD):
            self._spawn(self._put(questions[at : at + TOLD]))

    def _tell_soon(self) -> None:
        if not self._telling and self.ready:
            self._telling = True
            self._spawn(self._tell())

    async def _tell(self) -> None:
        await asyncio.sleep(0)  # others of this turn of the loop go along
        self._telling = False
        dirty = list(self._dirty.values())
        self._dirty.clear()
        for at in range(0, len(dirty), TOLD):
            some = dirty[at : at + TOLD]
            owed = [entry.owes.popitem() if entry.owes else NOTHING for _, entry in some]
            asked = zip(some, owed, strict=True)
            answer = await self._put([self.question(part, entry, 0, -1, owes) for (part, entry), owes in asked])
            if answer is None:
                for (_, entry), (mark, more) in zip(some, owed, strict=True):
                    if more > 0:  # may count twice; what is given back may not
                        entry.owes[mark] = entry.owes.get(mark, 0) + more
                for part, entry in dirty[at:]:
                    self._dirty[id(entry)] = part, entry
                return
            self._dirty.update({id(entry): (part, entry) for part, entry in some if entry.owes})
            for index, (_, entry) in enumerate(some):
                if owed[index][1] > 0 and answer[LEFT + index * GRANTED] == 0:
                    entry.until = 0.0  # in debt: what is left of its lease is not used
        if self._dirty:
            self._tell_soon()

    async def _put(self, questions: list[Question]) -> list[int] | None:
        try:
            return await self.take(questions)
        except StateUnavailable:
            return None

    # -- pieces

    def _part(self, kind: str, config: dict[str, Any], context: PolicyContext, owner: str) -> Part:
        parts = [owner, kind, str(config["name"]), str(config["by"]), str(config.get("seconds", "")), ""]
        if kind == "rate":
            parts[-1] = str(config["tokens"])
        label = "\0".join(parts)
        table = self.tables.get(label)
        if table is None:
            table = self.tables[label] = Table(label)
        table.version = self.version
        return Part(kind, config, context, table, self.configured)

    def _use(self, version: int) -> None:
        if version > self.version:
            self.version = version
            self._keys.clear()
            kept = {label: each for label, each in self.tables.items() if each.version >= version - KEPT_VERSIONS}
            self.tables = kept

    def _spawn(self, work: Any) -> asyncio.Task[None]:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task
