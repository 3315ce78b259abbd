"""What an administrator changes while someone logs in: whichever comes first, nothing of before is handed out."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, cast

import jwt
import pytest
from tests.unit.storage.kit import PASSWORD, Store

from portico.contracts import Identity, Server, Snapshot
from portico.services.attempts import Attempts
from portico.services.auth import people
from portico.services.auth.parts import Parts
from portico.services.host import Host
from portico.services.problems import Refused
from portico.state.memory import Memory
from portico.storage.accounts import People, Person
from portico.storage.database import Database
from portico.storage.usage import Usage

EMAIL = "ann@example.com"
Change = Callable[[str], Awaitable[object]]


class Slow(People):
    """Something happens just after a password was found right, or just after a person was read."""

    def __init__(self, db: Database) -> None:
        super().__init__(db)
        self.proved: Change | None = None
        self.read: Change | None = None

    async def verify_password(self, email: str, password: str) -> Person | None:
        found = await super().verify_password(email, password)
        if found is not None and self.proved is not None:
            await self.proved(found.id)
        return found

    async def get(self, id: str, tenant: str | None = None) -> Person | None:  # noqa: A002
        found = await super().get(id, tenant)
        if found is not None and self.read is not None:
            change, self.read = self.read, None
            await change(found.id)
        return found


class Desk:
    def __init__(self, store: Store) -> None:
        self.store = store
        self.people = Slow(store.db)
        self.identity = Identity()
        host = Host(Snapshot(1, "test", Server(()), identity=self.identity), cast(Any, None))
        attempts = Attempts(Memory(1 << 20), Memory(1 << 20), "login")
        self.parts = Parts(
            host, store.keys, self.people, store.sessions, store.invitations, store.signing,
            cast(Any, None), cast(Any, None), attempts, attempts, Usage(store.db),
        )  # fmt: skip
        self.person = store.run(self.people.create(EMAIL, PASSWORD, ("admin",)))

    def claims(self) -> dict[str, Any]:
        """What the token of a new login says."""

        async def work() -> str:
            session, _ = await people.login(self.parts, EMAIL, PASSWORD, "192.0.2.1", "")
            return (await people.access(self.parts, session))[0]

        found: dict[str, Any] = jwt.decode(self.store.run(work()), options={"verify_signature": False})
        return found

    def voided(self) -> int:
        """Tokens made before this moment are refused at every edge."""
        found = self.store.run(self.store.people.get(self.person.id))
        assert found is not None
        assert found.tokens_from is not None
        return int(found.tokens_from.timestamp())

    async def demote(self, person: str) -> None:
        await self.store.people.update(person, roles=("viewer",))

    async def disable(self, person: str) -> None:
        await self.store.people.update(person, disabled=True)

    async def another_password(self, person: str) -> None:
        await self.store.people.set_password(person, "another " + PASSWORD)


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    with Store("sqlite:///portico.db", tmp_path) as store:
        made = Desk(store)
        yield made
        made.people.close()


def test_roles_that_were_taken_while_the_password_was_checked(desk: Desk) -> None:
    assert desk.claims()["roles"] == ["admin"]
    desk.people.proved = desk.demote
    claims = desk.claims()
    assert claims["roles"] == ["viewer"]
    assert claims["iat"] >= desk.voided()


def test_roles_that_were_taken_while_the_token_was_made(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    began = int(time.time())
    monkeypatch.setattr(people.time, "time", lambda: began + 1.5)  # the change noted its moment a second before
    desk.people.read = desk.demote
    claims = desk.claims()
    assert claims["roles"] == ["admin"]
    assert claims["iat"] < desk.voided(), "this token would be believed"
    assert desk.claims()["roles"] == ["viewer"]


@pytest.mark.parametrize("change", [Desk.disable, Desk.another_password])
def test_who_is_shut_out_while_the_password_is_checked(desk: Desk, change: Callable[..., Awaitable[None]]) -> None:
    desk.people.proved = lambda person: change(desk, person)
    with pytest.raises(Refused) as raised:
        desk.claims()
    assert (raised.value.status_code, raised.value.code) == (401, "credentials_wrong")
    assert desk.store.run(desk.store.sessions.list(desk.person.id)) == ([], None)
