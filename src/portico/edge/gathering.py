"""The part of a client connection that takes a request body whole before it goes on."""

from __future__ import annotations

import asyncio
import time

from portico.edge.answering import Answering
from portico.edge.exchange import Exchange


class Gathering(Answering):
    """`parts` is what has come of a body that is being taken; empty while none is."""

    def __init__(self) -> None:
        super().__init__()
        self.parts: list[bytes] = []
        self.most = 0  # bytes that whoever waits for the body takes
        self.waiter: asyncio.Future[bool] | None = None
        self.touched = 0.0  # monotonic: when the current wait for the client began

    def gather(self, exchange: Exchange, most: int) -> asyncio.Future[bool]:
        """True when the whole body is in `exchange.pending`, False when it is more than `most` bytes.

        In both cases it goes on as if nothing had happened. Cancelled when the exchange ends before.
        """
        waiter: asyncio.Future[bool] = asyncio.get_running_loop().create_future()
        if exchange.body_done or len(exchange.pending) > most:
            if exchange.body_done:
                exchange.length = len(exchange.pending)
            waiter.set_result(len(exchange.pending) <= most)
            return waiter
        self.most = most
        self.waiter = waiter
        self.collect(exchange)
        self.touched = time.monotonic()
        self.resume()
        return waiter

    def collect(self, exchange: Exchange) -> None:
        """Take the body from now on. A client that waits to be asked for it is asked."""
        self.parts = [exchange.pending]
        exchange.pending = b""
        if exchange.expect:
            exchange.expect = False
            self.inform(exchange, 100, b"Continue", b"")

    def collected(self, exchange: Exchange) -> bool:
        """What was taken is the exchange's again; if that is all, its length is known now. True: someone waited."""
        exchange.pending = b"".join(self.parts)
        self.parts = []
        if exchange.body_done:
            exchange.length = len(exchange.pending)
        waiter = self.waiter
        if waiter is None:
            return False
        self.waiter = None
        if not exchange.body_done:
            self.pause()
        if not waiter.done():
            waiter.set_result(exchange.body_done and len(exchange.pending) <= self.most)
        return True

    def let_go(self) -> None:
        """The exchange has ended: keep nothing of its body."""
        self.parts = []
        if self.waiter is not None:
            self.waiter.cancel()
            self.waiter = None
