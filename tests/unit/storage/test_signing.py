"""The keys of Portico's own tokens."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import pytest
from tests.unit.storage.kit import Store

from portico.errors import Invalid, TokenError, VaultError
from portico.identity.tokens import KeySet, Verifier, issue
from portico.storage.accounts import SigningKeys
from portico.storage.changes import SIGNING_KEYS
from portico.storage.vault import Vault

CLAIMS = {"iss": "portico", "aud": "portico", "sub": "ann", "exp": int(time.time()) + 600, "tenant": "default"}


def verifier(keys: list[dict[str, Any]]) -> Verifier:
    told = {
        "name": "portico",
        "issuer": "portico",
        "audience": "portico",
        "algorithms": ["EdDSA", "HS256"],
        "own": True,
    }
    told |= {"leeway": 0, "roles": [], "roles_claim": "", "tenant": "default", "tenant_claim": "", "keys": keys}
    return Verifier([KeySet(told)])


@pytest.mark.parametrize("algorithm", ["EdDSA", "HS256"])
def test_what_is_signed_is_verified(store: Store, algorithm: str) -> None:
    key = store.run(store.signing.current(algorithm))
    assert store.run(store.signing.current(algorithm)) == key
    token = issue(CLAIMS, key)
    claims = verifier(store.run(store.signing.verifying())).verify(token.encode(), time.time())
    assert claims.subject == "ann"
    assert [each.kind for each in store.run(store.changes.since(0))] == [SIGNING_KEYS]


def test_the_public_see_no_private_part(store: Store) -> None:
    for algorithm in ("EdDSA", "HS256"):
        store.run(store.signing.current(algorithm))
    (public,) = store.run(store.signing.public())
    assert set(public) == {"kty", "crv", "kid", "alg", "use", "x"}
    assert [set(each) & {"d", "k"} for each in store.run(store.signing.verifying())] == [set(), {"k"}]
    assert [bool(set(each) & {"d", "k"}) for each in store.run(store.signing.all())] == [True, True]


def test_a_rotation_overlaps(store: Store) -> None:
    old = store.run(store.signing.current())
    token = issue(CLAIMS, old).encode()
    new = store.run(store.signing.rotate(3600))
    assert new["kid"] != old["kid"]
    assert store.run(store.signing.current()) == new
    assert {each["kid"] for each in store.run(store.signing.public())} == {old["kid"], new["kid"]}
    assert verifier(store.run(store.signing.verifying())).verify(token, time.time())


def test_a_rotation_without_overlap_ends_what_was(store: Store) -> None:
    token = issue(CLAIMS, store.run(store.signing.current())).encode()
    new = store.run(store.signing.rotate(0))
    assert store.run(store.signing.all()) == [new]
    with pytest.raises(TokenError):
        verifier(store.run(store.signing.verifying())).verify(token, time.time())
    assert store.run(store.signing.prune()) == 1


def test_of_many_that_ask_first_all_get_the_same_key(store: Store) -> None:
    others = [store.database() for _ in range(3)]

    async def race() -> list[dict[str, Any]]:
        for each in others:
            await each.open()
        try:
            repositories = [SigningKeys(each, store.vault) for each in (store.db, *others)]
            return list(await asyncio.gather(*(each.current() for each in repositories)))
        finally:
            for each in others:
                await each.close()

    keys = store.run(race())
    assert len({each["kid"] for each in keys}) == 1
    assert len(store.run(store.signing.all())) == 1


def test_of_many_rotations_one_key_signs(store: Store) -> None:
    async def race() -> list[Any]:
        return await asyncio.gather(*(store.signing.rotate(60) for _ in range(5)), return_exceptions=True)

    made = store.run(race())
    assert all(isinstance(each, dict) for each in made), made
    current = store.run(store.signing.current())
    assert current["kid"] in {each["kid"] for each in made}
    assert len(store.run(store.signing.all())) == 5


def test_another_vault_opens_none(store: Store, tmp_path: Path) -> None:
    store.run(store.signing.current())
    other = tmp_path / "other"
    other.mkdir()
    with pytest.raises(VaultError):
        store.run(SigningKeys(store.db, Vault.open(other, None)).current())


@pytest.mark.parametrize(("algorithm", "overlap"), [("none", 0), ("RS256", 0), ("EdDSA", -1), ("EdDSA", 400 * 86400)])
@pytest.mark.parametrize("store", ["sqlite"], indirect=True)  # refused before the database is asked
def test_what_can_not_be(store: Store, algorithm: str, overlap: float) -> None:
    with pytest.raises(Invalid):
        store.run(store.signing.rotate(overlap, algorithm))
