"""What `auth` is made of in one process."""

from __future__ import annotations

from pathlib import Path
from typing import Final

from portico.contracts import Boot, Snapshot
from portico.kernel.container import ServiceContainer
from portico.outbound import Client, rules
from portico.outbound.meter import Meter
from portico.services.attempts import Attempts
from portico.services.auth import first
from portico.services.auth.feed import Feed
from portico.services.auth.issuers import Issuers
from portico.services.auth.parts import Parts
from portico.services.host import Host
from portico.state import Store
from portico.state.memory import Memory
from portico.storage.accounts import Changes, Invitations, Keys, People, Sessions, SigningKeys
from portico.storage.usage import Usage
from portico.telemetry.counts import Counts

SPARE: Final = 4 * 1024 * 1024  # bytes for counting attempts while the shared store is away


class Assembly:
    """Made of what `storage` and `state` provide."""

    def __init__(self, services: ServiceContainer) -> None:
        host = services.get(Host)
        store = services.get(Store)  # type: ignore[type-abstract]
        spare = Memory(SPARE)
        people, sessions, signing = services.get(People), services.get(Sessions), services.get(SigningKeys)
        self._data_dir = Path(services.get(Boot).data_dir)
        outbound = services.get(Snapshot).outbound
        guard = rules.guard(outbound, operator=True)  # issuers are the operator's choice
        meter = Meter(services.get(Counts))
        self._client = Client(guard, proxy=outbound.proxy, meter=meter)
        issuers = Issuers(self._client, host.snapshot.identity, signing)
        self.parts = Parts(
            host,
            services.get(Keys),
            people,
            sessions,
            services.get(Invitations),
            signing,
            issuers,
            Feed(services.get(Changes), sessions, people, issuers),
            Attempts(store, spare, "login"),
            Attempts(store, spare, "register"),
            services.get(Usage),
        )

    async def start(self) -> None:
        """Begin; blocks for at most a second on issuers that are slow."""
        parts = self.parts
        await first.administrator(self._data_dir, parts.people, parts.keys)
        await parts.signing.current(parts.identity.tokens.algorithm)  # there before the first token needs it
        await self._client.start()
        await parts.issuers.start()
        await parts.feed.start(parts.host.leaving)

    async def stop(self) -> None:
        """End; also after half a start."""
        await self.parts.feed.stop()
        await self.parts.issuers.stop()
        await self._client.stop()
