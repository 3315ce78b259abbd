"""The functions behind `portico keys|token|people`: what they answer, and their sentences."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from tests.unit.storage.kit import PASSWORD, Store

from portico.errors import CommandError
from portico.identity import apikeys
from portico.identity.tokens import KeySet, Verifier
from portico.storage.commands import COMMANDS
from portico.storage.ids import uuid7


def do(store: Store, command: str, /, **arguments: Any) -> dict[str, Any]:
    """Run a command; its arguments and its answer go through JSON, as they do on the control socket."""
    given = json.loads(json.dumps(arguments))
    answer = store.run(COMMANDS[command](store.db, store.vault, given))
    found: dict[str, Any] = json.loads(json.dumps(answer))
    return found


def test_the_life_of_a_key(store: Store) -> None:
    made = do(store, "keys.create", name="shop", rate="600/minute", burst=60, permissions=["docs:read"], expires="30d")
    assert apikeys.well_formed(made["key"].encode())
    assert (made["rate"], made["burst"], made["per_minute"], made["per_day"]) == ("600/minute", 60, 0, 10_000)
    assert (made["permissions"], made["tenant"], made["is_active"]) == (["docs:read"], "default", True)
    assert made["expires_at"].endswith("Z")
    shown = do(store, "keys.show", id=made["id"])
    assert shown == {name: value for name, value in made.items() if name != "key"}
    assert "sha256" not in shown
    assert do(store, "keys.list") == {"items": [shown], "next_cursor": None}
    rotated = do(store, "keys.rotate", id=made["id"], grace="1h")
    assert (rotated["replaces"], rotated["name"]) == (made["id"], "shop")
    assert rotated["key"] != made["key"]
    assert do(store, "keys.revoke", id=rotated["id"]) == {"id": rotated["id"], "revoked": True}
    assert do(store, "keys.revoke", id=rotated["id"]) == {"id": rotated["id"], "revoked": False}
    assert do(store, "keys.list", active=True)["items"] == []


def test_lists_come_in_pages_and_by_tenant(store: Store) -> None:
    for number in range(3):
        do(store, "keys.create", name=f"key {number}", tenant="one")
    do(store, "keys.create", name="other", tenant="two")
    first = do(store, "keys.list", tenant="one", limit=2)
    rest = do(store, "keys.list", tenant="one", limit=2, after=first["next_cursor"])
    assert [each["name"] for each in first["items"] + rest["items"]] == ["key 0", "key 1", "key 2"]
    assert rest["next_cursor"] is None


@pytest.mark.parametrize(
    ("name", "arguments", "sentence"),
    [
        ("keys.create", {}, "name is needed"),
        ("keys.create", {"name": 5}, "name must be text"),
        ("keys.create", {"name": ""}, "name must be text of 1 to 200 characters"),
        ("keys.create", {"name": "x", "permissions": "docs:read"}, "permissions must be a list"),
        ("keys.create", {"name": "x", "permissions": ["docs"]}, "permissions must be permissions such as"),
        ("keys.create", {"name": "x", "window": "often"}, "window must be a rate such as 600/minute"),
        ("keys.create", {"name": "x", "burst": "many"}, "burst must be a whole number"),
        ("keys.create", {"name": "x", "burst": 5}, "burst goes with rate only"),
        ("keys.create", {"name": "x", "expires": "soon"}, "expires must be a duration"),
        ("keys.create", {"name": "x", "networks": ["here"]}, "networks must be networks or addresses"),
        ("keys.create", {"name": "x", "colour": "red", "size": 1}, "colour, size: no such argument"),
        ("keys.show", {"id": uuid7()}, "there is no key '"),
        ("keys.show", {}, "id is needed"),
        ("keys.revoke", {"id": "nothing"}, "there is no key with this id"),
        ("keys.rotate", {"id": uuid7()}, "there is no such key that works"),
        ("keys.rotate", {"id": uuid7(), "grace": "60d"}, "grace must be from 0 seconds to 30 days"),
        ("keys.list", {"after": "x"}, "cursor must be one that came with the page before"),
        ("keys.list", {"active": "yes"}, "active must be true or false"),
        ("token.create", {}, "roles are needed"),
        (
            "token.create",
            {"roles": ["boss"], "known_roles": ["admin", "user"]},
            "'boss' is no role; there are: admin, user",
        ),
        ("token.create", {"roles": ["admin"], "ttl": "400d"}, "ttl must be a duration of at most 365d"),
        ("token.create", {"roles": ["admin"], "ttl": "0s"}, "ttl must be from 1s to 366d"),
        ("token.create", {"roles": ["admin"], "algorithm": "none"}, "algorithm must be EdDSA or HS256"),
        ("people.create", {}, "email is needed"),
        ("people.create", {"email": "ann"}, "email must be an e-mail address"),
        ("people.create", {"email": "a@b.c", "password": "short"}, "password must have 10 to 1024 characters"),
        ("people.create", {"email": "a@b.c", "roles": ["boss"], "known_roles": ["user"]}, "'boss' is no role"),
        ("people.disable", {}, "id or email is needed"),
        ("people.disable", {"email": "a@b.c"}, "there is no person with this e-mail address"),
        ("people.disable", {"id": uuid7()}, "there is no such person"),
    ],
)
@pytest.mark.parametrize("store", ["sqlite"], indirect=True)  # refused before the database is asked
def test_each_mistake_has_its_sentence(store: Store, name: str, arguments: dict[str, Any], sentence: str) -> None:
    with pytest.raises(CommandError) as raised:
        do(store, name, **arguments)
    assert str(raised.value).startswith(sentence)


def test_a_key_given_in_place_of_its_id_is_not_repeated(store: Store) -> None:
    made = do(store, "keys.create", name="x")
    for name in ("keys.show", "keys.revoke", "keys.rotate"):
        with pytest.raises(CommandError) as raised:
            do(store, name, id=made["key"])
        assert made["key"] not in str(raised.value)


def verified(store: Store, token: str) -> Any:
    keys = store.run(store.signing.verifying())
    told: dict[str, Any] = {"name": "own", "issuer": "portico", "audience": "portico", "own": True, "keys": keys}
    told |= {"algorithms": ["EdDSA", "HS256"], "leeway": 0, "roles": [], "roles_claim": ""}
    told |= {"tenant": "default", "tenant_claim": ""}
    return Verifier([KeySet(told)]).verify(token.encode(), time.time())


@pytest.mark.parametrize("algorithm", ["EdDSA", "HS256"])
def test_a_token_stands_for_a_holder_of_its_own(store: Store, algorithm: str) -> None:
    made = do(store, "token.create", roles=["admin"], ttl="2h", permissions=["docs:read"], algorithm=algorithm)
    claims = verified(store, made["token"])
    assert (claims.subject, claims.session) == (made["id"], made["session"])
    assert (claims.roles, claims.permissions, claims.tenant) == (("admin",), ("docs:read",), "default")
    assert 7100 < claims.expires - time.time() <= 7200
    session = store.run(store.sessions.get(made["session"]))
    assert session is not None
    assert session.tokens_until == session.expires_at
    do(store, "people.disable", id=made["id"])
    assert [ended for ended, _ in store.run(store.sessions.revoked())] == [made["session"]]
    with pytest.raises(CommandError):
        do(store, "token.create", roles=["x" * 60], permissions=[f"a{n}:{'b' * 80}" for n in range(100)])


def test_people_are_created_listed_disabled_and_let_in_again(store: Store) -> None:
    made = do(
        store, "people.create", email="Ann@Example.com", password=PASSWORD, roles=["viewer"], known_roles=["viewer"]
    )
    assert (made["email"], made["roles"], made["disabled"]) == ("ann@example.com", ["viewer"], False)
    assert PASSWORD not in json.dumps(made)
    assert do(store, "people.list") == {"items": [made], "next_cursor": None}
    assert do(store, "people.disable", email="ANN@example.com")["disabled"]
    assert store.run(store.people.verify_password("ann@example.com", PASSWORD)) is None
    assert not do(store, "people.disable", id=made["id"], disabled=False)["disabled"]
    with pytest.raises(CommandError, match="belongs to someone already"):
        do(store, "people.create", email="ann@example.com")


def test_the_names_of_the_commands() -> None:
    wanted = {"keys.create", "keys.list", "keys.show", "keys.rotate", "keys.revoke", "token.create"}
    wanted |= {"people.create", "people.list", "people.disable"}
    assert wanted <= COMMANDS.keys()
