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
        super().__init__(config, f"q={self.most};w={seconds}", context)
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
        if bucket.count + self.need > self.most:
            return self.refuse(exchange, self._answer(exchange, cells, ticks))
        if cells and cells[-1] // COUNT == part:
            cells[-1] += self.need
        else:
            cells.append(part * COUNT + self.need)
        bucket.count += self.need
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
        if count + self.need > self.most:
            return self._answer(exchange, cells, ticks)
        self.show(exchange, self.most - count - self.need, self._wait(cells or [part * COUNT], ticks))
        if self.cost is not None:
            self.cost.explain(exchange)
        return None

    def give_back(self, bucket: Bucket, mark: int) -> None:
        cells = bucket.cells
        if cells and cells[-1] // COUNT == mark:
            bucket.count -= self.need
            cells[-1] -= self.need
            if cells[-1] % COUNT == 0:
                cells.pop()

    def correct(self, exchange: Exchange, bucket: Bucket, mark: int, more: int) -> None:
        part = int(exchange.ended * TICKS) * self.times // self.length
        current = self.store.take(self.callers.key(exchange), part)
        if more > 0:
            self._charge(current, part, more)
        elif current is bucket:  # else all that it counted is past
            cells = bucket.cells
            for index in range(len(cells)):
                if cells[index] // COUNT == mark:
                    back = min(-more, cells[index] % COUNT)
                    cells[index] -= back
                    bucket.count -= back
                    if cells[index] % COUNT == 0:
                        del cells[index]
                    return

    def _charge(self, bucket: Bucket, part: int, more: int) -> None:
        cells = bucket.cells
        if not cells or cells[-1] // COUNT < part:
            cells.append(part * COUNT)
        more = min(more, COUNT - 1 - cells[-1] % COUNT)
        cells[-1] += more
        bucket.count += more
        bucket.until = cells[-1] // COUNT + PARTS + 1

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
    """`config`: {"count": n, "seconds": s, "by": caller, "name": text}; "cost": see `cost.Cost`."""
    shared = context.shared.get(SHARED)
    if shared is not None:
        return step_of(shared, "window", config, context)
    store = store_of(context, "window", config["name"], config["by"], str(config["seconds"]))
    policy = Window(config, context, store)
    return Step("window", LIMIT, policy.check, policy.peek, policy.settle if policy.cost is not None else None)
