"""All limits of one route as one decision, taken at the store that workers share.

One script call asks for everything that a request needs and is granted all or nothing, so a request that one limit
refuses costs nothing in the others. What a worker holds in leases it grants at once, without asking.
"""

from __future__ import annotations

import math
from collections.abc import Awaitable
from typing import TYPE_CHECKING, Any, Final

from portico.contracts import LIMIT
from portico.edge.exchange import Exchange, Response, Step
from portico.edge.limits.parts import HOT, SPAN, USED, Entry, Part
from portico.edge.policies.key_limits import NOTE
from portico.edge.policies.limits import settle_costs
from portico.errors import StateUnavailable

if TYPE_CHECKING:
    from portico.edge.limits.keeper import Keeper

COSTS: Final = "costs reserved"  # the note of an exchange: (part, entry, mark, epoch) of what it may have to settle
SLOTS: Final = "slots held"  # the note of an exchange: the entries whose slots it holds
GRANTED: Final = 4  # numbers of an answer for each part
Pair = tuple[Part, Entry]


class Gate:
    """The LIMIT phase of one route. The first of its steps decides for all of them."""

    def __init__(self, keeper: Keeper) -> None:
        self.keeper = keeper
        self.parts: list[Part] = []
        self.has_keys = False  # keys of the database bring limits of their own
        self.key_cost: dict[str, Any] | None = None  # what a request costs those

    def step(self, name: str, part: Part | None) -> Step:
        """The step of one more limit; None: of those that keys bring."""
        first = not self.parts and not self.has_keys
        if part is None:
            self.has_keys = True
        else:
            self.parts.append(part)

        def peek(exchange: Exchange) -> Response | Awaitable[Response | None] | None:
            return self.peek(exchange, [part] if part is not None else self._key_parts(exchange))

        return Step(name, LIMIT, self.check if first else _decided, peek, self.settle if first else None)

    def _key_parts(self, exchange: Exchange) -> list[Part]:
        specs = exchange.notes.get(NOTE)
        return self.keeper.key_parts(specs, self.key_cost) if specs else []

    def check(self, exchange: Exchange) -> Response | Awaitable[Response | None] | None:
        """Grant from leases; else ask the store; without it, do what each limit says."""
        parts = self._key_parts(exchange) + self.parts if self.has_keys else self.parts
        now = self.keeper.clock()
        leased: list[Pair] = []
        asked: list[Pair] = []
        alone: list[Pair] = []
        for part in parts:
            entry = part.entry(exchange)
            pair = part, entry
            if entry.remaining >= part.need and now < entry.until:
                leased.append(pair)
            elif self.keeper.usable(part, now):
                asked.append(pair)
            else:
                alone.append(pair)
        if asked:
            return self._ask(exchange, leased, asked, alone, now)
        answer = self._without(exchange, alone)
        if answer is None:
            self._spend(exchange, leased, now)
            self._reserve(exchange, leased)
        return answer

    def settle(self, exchange: Exchange) -> None:
        """Free the slots that the exchange holds, and tell the store what it has cost."""
        self._free(exchange)
        for part, entry, mark, epoch in exchange.notes.pop(COSTS, ()):
            more = part.cost.truth(exchange) - part.need
            if more != 0:
                self.keeper.owe(part, entry, mark, epoch, more)
        settle_costs(exchange)  # what was granted alone

    def _free(self, exchange: Exchange) -> None:
        for entry, part in exchange.notes.pop(SLOTS, ()):
            entry.held -= 1
            self.keeper.tell(part, entry)

    # -- without asking

    def _spend(self, exchange: Exchange, leased: list[Pair], now: float) -> None:
        for part, entry in leased:
            entry.remaining -= part.need
            part.show(exchange, entry, now)

    def _reserve(self, exchange: Exchange, leased: list[Pair]) -> None:
        """Note what was granted from leases, where it is to be settled."""
        for part, entry in leased:
            if part.cost is not None:
                self._note(exchange, part, entry, entry.mark)

    def _note(self, exchange: Exchange, part: Part, entry: Entry, mark: int) -> None:
        assert part.cost is not None
        part.cost.watch(exchange)
        exchange.notes.setdefault(COSTS, []).append((part, entry, mark, entry.epoch))

    def _without(self, exchange: Exchange, alone: list[Pair]) -> Response | None:
        """What the limits say that can't be counted together now."""
        keeper = self.keeper
        brief = keeper.ready  # an answer came too late, no more: nobody else is without the store
        for part, _ in alone:
            if part.mode == "closed":
                return part.limit.refuse(exchange, part.closed(exchange))
        for part, entry in alone:
            if part.mode == "share":
                if brief and part.kind == "rate" and keeper.usable(part, keeper.clock()):
                    answer: Response | None = part.refusal(exchange, 1)
                else:
                    answer = part.share(exchange, entry, keeper.away_since, keeper.workers)
                if answer is not None:
                    self._free(exchange)
                    return part.limit.refuse(exchange, answer)
                keeper.shared_out = keeper.shared_out or part.kind == "rate"
            if part.kind == "slots":
                self._hold(exchange, part, entry)
        return None

    def _hold(self, exchange: Exchange, part: Part, entry: Entry) -> None:
        entry.held += 1
        exchange.notes.setdefault(SLOTS, []).append((entry, part))
        self.keeper.holding[id(entry)] = part, entry

    # -- asking

    async def _ask(
        self, exchange: Exchange, leased: list[Pair], asked: list[Pair], alone: list[Pair], now: float
    ) -> Response | None:
        answer = self._without(exchange, alone)
        if answer is not None:
            return answer
        taken = [(part, entry, entry.serial) for part, entry in leased]
        fields = exchange.response_fields
        self._spend(exchange, leased, now)
        try:
            answer = await self._decide(exchange, asked, now)
        except StateUnavailable:
            answer = self._without(exchange, asked)
        if answer is None:
            self._reserve(exchange, leased)
        if exchange.finished:
            self.settle(exchange)
        if answer is not None:
            exchange.response_fields = fields
            for part, entry, serial in taken:
                if entry.serial == serial:
                    entry.remaining += part.need
        return answer

    async def _decide(self, exchange: Exchange, asked: list[Pair], now: float) -> Response | None:
        keeper = self.keeper
        wants = [self._want(part, entry, now) for part, entry in asked]
        questions = [
            keeper.question(part, entry, want, back) for (part, entry), (want, back) in zip(asked, wants, strict=True)
        ]
        for part, entry in asked:
            if part.kind == "slots":
                self._hold(exchange, part, entry)  # while it is asked for, it counts
        epoch = keeper.epoch
        try:
            answer = await keeper.take(questions)
        except StateUnavailable:
            self._free(exchange)
            raise
        finally:
            for (part, entry), (want, _) in zip(asked, wants, strict=True):
                entry.leasing = entry.leasing and want <= part.need
        return self._granted(exchange, asked, wants, answer, now, epoch)

    def _want(self, part: Part, entry: Entry, now: float) -> tuple[int, int]:
        """How many to ask for, and how many of the last lease to give back (-1: it stays as it is)."""
        if now - entry.began > SPAN:
            entry.began = now
            entry.asks = 0
        entry.asks += 1
        if entry.asks < HOT or not part.leases or entry.leasing:
            return part.need, -1
        entry.leasing = True
        back, entry.remaining = entry.remaining, 0
        entry.asks = HOT  # it stays hot as long as it asks this often
        wanted = entry.size * 2 if now - entry.leased < SPAN else entry.size // 2
        entry.size = max(part.first, min(part.lease, wanted))
        return entry.size, back

    def _granted(
        self, exchange: Exchange, asked: list[Pair], wants: list[tuple[int, int]], answer: list[int], now: float,
        epoch: str,
    ) -> Response | None:  # fmt: skip
        refused: Response | None = None
        for index, (part, entry) in enumerate(asked):
            got, left, wait, mark = answer[2 + index * GRANTED : 6 + index * GRANTED]
            entry.left = left + (0 if answer[1] else got)
            entry.more_at = now + wait / 1e6
            entry.heard = now
            entry.epoch = epoch
            if part.kind == "quota":
                entry.mark = mark
            if got == 0:
                refused = refused or part.limit.refuse(exchange, part.refusal(exchange, math.ceil(wait / 1e6)))
            elif answer[1]:
                if part.cost is not None:
                    self._note(exchange, part, entry, mark)
                if wants[index][0] > part.need and got > part.need:
                    self._lease(part, entry, got, mark, now, wait)
                part.show(exchange, entry, now)
        if refused is not None:
            self._free(exchange)
        return refused

    def _lease(self, part: Part, entry: Entry, got: int, mark: int, now: float, wait: int) -> None:
        entry.remaining = got - part.need
        entry.leased = now
        entry.serial += 1
        entry.mark = mark
        entry.until = now + part.lapse * USED
        if part.kind == "quota":
            entry.until = min(entry.until, now + wait / 1e6)  # it is of this day
        self.keeper.leased(part, entry)

    # -- looking

    def peek(self, exchange: Exchange, parts: list[Part]) -> Response | Awaitable[Response | None] | None:
        """What `check` would answer for these; an awaitable when the store has to be asked."""
        keeper = self.keeper
        now = keeper.clock()
        for part in parts:
            entry = part.entry(exchange)
            if entry.remaining >= part.need and now < entry.until:
                entry.remaining -= part.need
                part.show(exchange, entry, now)
                entry.remaining += part.need
                self._explain(exchange, part)
            elif keeper.usable(part, now):
                self._explain(exchange, part)
                return self._look(exchange, parts[parts.index(part) :], now)
            elif part.mode == "closed":
                return part.closed(exchange)
            elif part.mode == "share":
                answer = part.share(exchange, entry, keeper.away_since, keeper.workers, looks=True)
                if answer is not None:
                    return answer
        return None

    def _explain(self, exchange: Exchange, part: Part) -> None:
        if part.cost is not None:
            part.cost.explain(exchange)

    async def _look(self, exchange: Exchange, parts: list[Part], now: float) -> Response | None:
        pairs = [(part, part.entry(exchange)) for part in parts]
        questions = [self.keeper.question(part, entry, part.need, -1) for part, entry in pairs]
        try:
            answer = await self.keeper.take(questions, looks=True)
        except StateUnavailable:
            return None
        for index, (part, entry) in enumerate(pairs):
            got, left, wait, _ = answer[2 + index * GRANTED : 6 + index * GRANTED]
            if got == 0:
                return part.refusal(exchange, math.ceil(wait / 1e6))
            seen = Entry(entry.digest)
            seen.left, seen.more_at = left, now + wait / 1e6
            part.show(exchange, seen, now)
        return None


def _decided(exchange: Exchange) -> Response | None:
    """The route's first limit has decided."""
    return None


def made(notes: dict[str, Any], keeper: Keeper) -> Gate:
    """The gate of the route whose context has these notes."""
    gate = notes.get("gate")
    if not isinstance(gate, Gate):
        gate = notes["gate"] = Gate(keeper)
    return gate
