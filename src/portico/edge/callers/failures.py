"""Failed credentials slow down whoever sends them, by address. Right credentials are never held up by it."""

from __future__ import annotations

import math
from collections import OrderedDict
from typing import Final

from portico.edge.policies.limits import network

ALLOWED: Final = 20  # failures of one address in a span
SPAN: Final = 60.0  # seconds
ADDRESSES: Final = 20_000  # that are remembered; beyond, those that failed longest ago are forgotten


class Failures:
    """How often each address failed. An IPv6 subscriber (/64) is one address."""

    def __init__(self, addresses: int = ADDRESSES) -> None:
        self.addresses = addresses
        self.seen: OrderedDict[bytes, tuple[float, int]] = OrderedDict()  # address → when the span began, how often

    def wait(self, client: bytes, now: float) -> int:
        """Seconds (at least 1) for which the address is to send nothing wrong any more; 0: it may. Changes nothing."""
        began, count = self.seen.get(whose(client), (now, 0))
        left = began + SPAN - now
        return max(1, math.ceil(left)) if count >= ALLOWED and left > 0.0 else 0

    def failed(self, client: bytes, now: float) -> None:
        """The address has sent a credential that is not right."""
        address = whose(client)
        began, count = self.seen.pop(address, (now, 0))
        if now - began >= SPAN:
            began, count = now, 0
        if len(self.seen) >= self.addresses:
            self.seen.popitem(last=False)
        self.seen[address] = began, min(count + 1, ALLOWED)


def whose(client: bytes) -> bytes:
    """What is counted for a client's address."""
    return client if client.find(b":") < 0 else network(client)
