"""The one guarded HTTP client for calls to other people's addresses.

aiohttp is imported with the first call of a `Client`, not before.
"""

from portico.outbound.addresses import Guard
from portico.outbound.answer import Answer
from portico.outbound.bounds import Bounds
from portico.outbound.client import Client

__all__ = ["Answer", "Bounds", "Client", "Guard"]
