"""The one guarded HTTP client for calls to other people's addresses.

aiohttp is imported when a `Client` starts, not before.
"""

from portico.outbound.addresses import Guard
from portico.outbound.answer import Answer
from portico.outbound.bounds import Bounds
from portico.outbound.client import Client

__all__ = ["Answer", "Bounds", "Client", "Guard"]
