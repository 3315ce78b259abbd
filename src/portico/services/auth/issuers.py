"""Whose tokens count, and the keys that verify them, as the edges are told: our own first, then the file's issuers."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, Protocol

from portico import contracts
from portico.outbound import Client
from portico.services.auth import keysets
from portico.services.auth.remotekeys import FLOOR, RemoteKeys, Report

PATIENCE: Final = 1.0  # seconds that a start waits for the first key sets
OWN: Final = "portico"  # the name of our own issuer


class SigningKeys(Protocol):
    """Where our own keys are kept."""

    async def verifying(self) -> Sequence[Mapping[str, Any]]:
        """What verifies every token of ours that may still be valid (JWK): public keys, shared secrets."""
        ...


class Issuers:
    """The issuers of `identity.tokens`. `client` must allow private addresses: these URLs are the operator's."""

    def __init__(
        self, client: Client, identity: contracts.Identity, signing_keys: SigningKeys, floor: float = FLOOR
    ) -> None:
        self._client = client
        self._identity = identity
        self._signing_keys = signing_keys
        self._floor = floor
        self._own: list[keysets.Jwk] = []
        self._remote: dict[str, RemoteKeys] = {}
        self._watchers: list[Callable[[], None]] = []
        self._started = False

    async def start(self) -> None:
        """Read our own keys and begin to fetch the others'; waits at most a second for those."""
        self._started = True
        await self.reload_own()
        firsts = [self._add(spec).start() for spec in _remote(self._identity)]
        if firsts:
            await asyncio.wait(firsts, timeout=PATIENCE)

    async def stop(self) -> None:
        """Fetch no more; may be called twice."""
        self._started = False
        remote, self._remote = list(self._remote.values()), {}
        for each in remote:
            await each.stop()

    def snapshot(self) -> list[dict[str, Any]]:
        """All issuers with their keys, as a line of the edge's stream carries them."""
        tokens = self._identity.tokens
        own = contracts.Issuer(
            OWN, tokens.issuer, tokens.issuer, (tokens.algorithm,), roles=(), roles_claim="roles", tenant_claim="tenant"
        )
        mine = [key for key in self._own if key.get("alg") == tokens.algorithm]
        return [_entry(own, mine, True), *(_entry(spec, self._keys(spec), False) for spec in tokens.accept)]

    def on_change(self, callback: Callable[[], None]) -> Callable[[], None]:
        """Call back whenever `snapshot` has become another. Returns how to end that."""
        self._watchers.append(callback)
        return lambda: self._watchers.remove(callback) if callback in self._watchers else None

    async def refresh(self, name: str) -> None:
        """Someone met a key that is not there: fetch this issuer's again, at most once in ten seconds."""
        if name == OWN:
            await self.reload_own()
        elif name in self._remote:
            await self._remote[name].refresh()

    async def reload_own(self) -> None:
        """Read our own keys again: one was made, or retired."""
        keys = [keysets.public(key) for key in await self._signing_keys.verifying()]
        if keys != self._own:
            self._own = keys
            self._changed()

    async def update(self, identity: contracts.Identity) -> None:
        """A reload: go on with another configuration; issuers that stay the same keep their keys."""
        if identity.tokens == self._identity.tokens:
            self._identity = identity
            return
        self._identity = identity
        wanted = {spec.name: spec for spec in _remote(identity)}
        for name, remote in list(self._remote.items()):
            if wanted.get(name) != remote.spec:
                del self._remote[name]
                await remote.stop()
        if self._started:
            for name, spec in wanted.items():
                if name not in self._remote:
                    self._add(spec).start()
        self._changed()

    def reports(self) -> list[Report]:
        """How each issuer that publishes its keys stands."""
        return [remote.report() for remote in self._remote.values()]

    def _add(self, spec: contracts.Issuer) -> RemoteKeys:
        remote = self._remote[spec.name] = RemoteKeys(self._client, spec, self._changed, self._floor)
        return remote

    def _keys(self, spec: contracts.Issuer) -> list[keysets.Jwk]:
        if spec.secret:
            return [keysets.shared(spec.secret)]
        remote = self._remote.get(spec.name)
        return remote.keys if remote is not None else []

    def _changed(self) -> None:
        for callback in list(self._watchers):
            callback()


def _remote(identity: contracts.Identity) -> list[contracts.Issuer]:
    return [spec for spec in identity.tokens.accept if not spec.secret and (spec.jwks or spec.discovery)]


def _entry(spec: contracts.Issuer, keys: list[keysets.Jwk], own: bool) -> dict[str, Any]:
    return {
        "name": spec.name,
        "issuer": spec.issuer,
        "audience": spec.audience,
        "algorithms": list(spec.algorithms),
        "leeway": spec.leeway,
        "roles": list(spec.roles),
        "roles_claim": spec.roles_claim,
        "tenant": spec.tenant,
        "tenant_claim": spec.tenant_claim,
        "own": own,
        "keys": [dict(key) for key in keys],
    }
