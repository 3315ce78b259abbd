from __future__ import annotations

from typing import Any

from tests.unit.storage.kit import Store
from tests.unit.storage.usage.kit import START

from portico.storage.usage import Recent, rollup


def request(number: int, **more: Any) -> list[Any]:
    has = {"key": "a", "kind": "key", "tenant": "one", "route": "r", "status": 200, "principal": "a"} | more
    return [
        START + number / 1000, f"id-{number}", has["key"], has["principal"], has["kind"], has["tenant"], has["route"],
        "GET", f"/things/{number}", has["status"], "", 1.25, 10, 20, "192.0.2.1",
    ]  # fmt: skip


def take(store: Store, requests: list[list[Any]], keep: int) -> None:
    async def work() -> None:
        async with store.db.write() as session:
            await rollup.take_recent(session, [{"kind": "recent", "rows": requests}], keep)

    store.run(work())


def test_the_newest_stay(store: Store) -> None:
    for first in range(0, 100, 10):
        take(store, [request(number) for number in range(first, first + 10)], 25)
    found, following = store.run(Recent(store.db).list(None, limit=100))
    assert [each.request_id for each in found] == [f"id-{number}" for number in range(99, 74, -1)]
    assert following is None
    one = found[0]
    assert (one.path, one.micros, one.at.timestamp()) == ("/things/99", 1250, START + 0.099)
    take(store, [request(number) for number in range(100, 300)], 25)
    assert store.execute("SELECT count(*) FROM requests_recent") == [(25,)]


def test_none_may_be_kept(store: Store) -> None:
    take(store, [request(1)], 0)
    assert store.run(Recent(store.db).list(None)) == ([], None)


def test_they_are_found_by_caller_route_status_and_tenant(store: Store) -> None:
    requests = [
        request(1), request(2, key="b", principal="b", status=404), request(3, key="", principal="b", kind="person"),
        request(4, tenant="two", key="c", principal="c", status=503, route="s"),
    ]  # fmt: skip
    take(store, requests, 100)
    for wanted, numbers in (
        ({}, [4, 3, 2, 1]),
        ({"name": "b"}, [3, 2]),
        ({"route": "s"}, [4]),
        ({"status": (400, 499)}, [2]),
        ({"name": "c", "tenant": "one"}, []),
    ):
        tenant = wanted.pop("tenant", None)
        found, _ = store.run(Recent(store.db).list(tenant, **wanted))  # type: ignore[arg-type]
        assert [each.request_id for each in found] == [f"id-{number}" for number in numbers]


def test_pages_follow_one_another(store: Store) -> None:
    take(store, [request(number) for number in range(10)], 100)
    seen: list[str] = []
    before = None
    while True:
        found, before = store.run(Recent(store.db).list("one", before=before, limit=4))
        seen += [each.request_id for each in found]
        if before is None:
            break
    assert seen == [f"id-{number}" for number in reversed(range(10))]
