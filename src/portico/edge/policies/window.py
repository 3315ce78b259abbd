"""LIMIT: at most so many requests in any span of one window.

The window W is cut into 60 sub-windows, and a caller's requests are counted in each. A request at time t, in sub-window
i, is admitted if fewer than n were admitted in the 61 sub-windows i - 60 … i.

Never above n: every admitted request of the last W seconds, from t - W to t, lies in one of those, for t - W lies in
sub-window i - 60. So whenever a request is admitted, the span of W that ends with it has at most n; and a span with
more than n would, cut back to its last request, be such a span.

At most 1/60 early: a request admitted in sub-window j counts until the end of sub-window j + 60, which is at most 61
sub-windows, W + W/60, after it. So a request is refused only if there were n in the last W + W/60.

Both hold exactly: the clock is read once, in ticks of 2⁻³⁰ s, and everything after that is in integers.
"""

from __future__ import annotations

from fractions import Fraction
from typing import Any, Final

from portico.contracts import LIMIT
from portico.edge.context import PolicyContext
from portico.edge.exchange import Exchange, Response, Step
from portico.edge.policies.limits import SHARED, TICKS, Limit, step_of, store_of
from portico.edge.policies.store import Bucket, Store

PARTS: Final = 60
COUNT: Final = 1 << 32  # a cell is its sub-window's number · COUNT + the requests in it


class Window(Limit):
    """The policy of one route. A bucket's `cells` are its sub-windows that have requests, `count` is their sum."""

    def __init__(self, config: dict[str, Any], context: PolicyContext, store: Store) -> None:
        seconds = config["seconds"]
        self.most = int(config["count"])
        super().__init__(config["name"], config["by"], f"q={self.most};w={seconds}", context)
        length = Fraction(seconds) * TICKS / PARTS
        self.store = store
        self.times = length.denominator  # a sub-window has length / times ticks
        self.length = length.numerator

    def check(self, exchange: Exchange) -> Response | None:
        ticks = int(exchange.now * TICKS)
        part = ticks * self.times // self.length
        bucket = self.store.take(self.callers.key(exchange), part)
        cells = bucket.cells
        if cells:
            part = max(part, cells[-1] // COUNT)
            while cells and cells[0] // COUNT < part - PARTS:
                bucket.count -= cells.pop(0) % COUNT
        if bucket.count >= self.most:
            return self.refuse(exchange, self._answer(exchange, cells, ticks))
        if cells and cells[-1] // COUNT == part:
            cells[-1] += 1
        else:
            cells.append(part * COUNT + 1)
        bucket.count += 1
        bucket.until = part + PARTS + 1
        self.reserved(exchange, bucket, part)
        self.show(exchange, self.most - bucket.count, self._wait(cells, ticks))
        return None

    def peek(self, exchange: Exchange) -> Response | None:
        ticks = int(exchange.now * TICKS)
        bucket = self.store.look(self.callers.key(exchange))
        part = ticks * self.times // self.length
        cells: list[int] = []
        if bucket is not None and bucket.cells:
            part = max(part, bucket.cells[-1] // COUNT)
            cells = [cell for cell in bucket.cells if cell // COUNT >= part - PARTS]
        count = sum([cell % COUNT for cell in cells])
        if count >= self.most:
            return self._answer(exchange, cells, ticks)
        self.show(exchange, self.most - count - 1, self._wait(cells or [part * COUNT], ticks))
        return None

    def give_back(self, bucket: Bucket, mark: int) -> None:
        cells = bucket.cells
        if cells and cells[-1] // COUNT == mark:
            bucket.count -= 1
            cells[-1] -= 1
            if cells[-1] % COUNT == 0:
                cells.pop()

    def _wait(self, cells: list[int], ticks: int) -> int:
        """Seconds until the oldest sub-window no longer counts; without any, only another configuration helps."""
        if not cells:
            return 1
        end = (cells[0] // COUNT + PARTS + 1) * self.length
        return -((ticks * self.times - end) // (self.times * TICKS))

    def _answer(self, exchange: Exchange, cells: list[int], ticks: int) -> Response:
        detail = f"more than {self.name} were asked for"
        return self.answer(exchange, "window_exceeded", detail, self._wait(cells, ticks))


def build(config: dict[str, Any], context: PolicyContext) -> Step:
    """`config`: {"count": n, "seconds": s, "by": caller, "name": text}."""
    shared = context.shared.get(SHARED)
    if shared is not None:
        return step_of(shared, "window", config, context)
    store = store_of(context, "window", config["name"], config["by"], str(config["seconds"]))
    policy = Window(config, context, store)
    return Step("window", LIMIT, policy.check, policy.peek)
