"""What a request costs a limit that counts something else than requests.

An estimate is reserved when the request comes. When the exchange has ended, it is replaced by what the answer told: at
most `most`, which bounds what one answer can do to a caller. The estimate stands where the answer did not tell, or
where what it told is no whole number. A request that reached no upstream costs nothing.
"""

from __future__ import annotations

from typing import Any, Final

from portico.edge.edit import Edit
from portico.edge.exchange import Exchange
from portico.edge.policies.require import WHY
from portico.edge.tap import UNTOLD, Tap

TOKENS: Final = "tokens"
HEADER: Final = "header:"


class Cost:
    """How one limit finds out. `config`: {"from": "tokens" or "header:NAME", "estimate": n, "most": n}."""

    def __init__(self, config: dict[str, Any]) -> None:
        source = str(config["from"])
        self.source = source
        self.header = source[len(HEADER) :].lower().encode() if source.startswith(HEADER) else b""
        self.estimate = int(config["estimate"])
        self.most = int(config["most"])
        self.unit = "cost" if self.header else TOKENS
        self.plain = Edit({"Accept-Encoding": "identity"}, {}, [])  # what is compressed can't be read

    def watch(self, exchange: Exchange) -> None:
        """Have the answer read as it passes."""
        tap = exchange.tap
        if tap is None:
            tap = exchange.tap = Tap()
        if self.header:
            tap.asked[self.header] = UNTOLD
        elif not tap.counts:
            tap.counts = True
            exchange.request_edit = self.plain.after(exchange.request_edit)

    def truth(self, exchange: Exchange) -> int:
        """What the exchange has cost, now that it has ended."""
        if not exchange.upstream:
            return 0
        tap = exchange.tap
        told = UNTOLD
        if tap is not None:
            told = tap.asked.get(self.header, UNTOLD) if self.header else tap.tokens
        if told == UNTOLD:
            if exchange.route is not None:
                untold = exchange.route.stats.untold
                untold[self.source] = untold.get(self.source, 0) + 1
            return self.estimate
        return told if told < self.most else self.most

    def explain(self, exchange: Exchange) -> None:
        """Tell `portico explain` what is reserved."""
        told = "usage.total_tokens of the answer" if not self.header else f"the answer's {self.header.decode()}"
        why = f"{self.estimate} is reserved, until {told} says how much it was (at most {self.most})"
        exchange.notes.setdefault(WHY, []).append(why)
