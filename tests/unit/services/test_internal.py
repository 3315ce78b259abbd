"""What the edge asks of the services under /_portico/, over the real socket of a real process."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import json
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path

import pytest
from tests.services import postgres
from tests.unit.services.accounts import IDENTITY, PLUGINS, PROOF, Stream, ask, started
from tests.unit.services.supervise import KEY, PUBLIC, Services, snapshot

from portico import contracts
from portico.contracts import Tokens
from portico.identity.principal import Principal, sign
from portico.storage.database import Database

ROOT = Principal("root", "key", "default", ("*",))
PATHS = [
    ("GET", "/_portico/changes"), ("GET", "/_portico/keys/prefixes"), ("POST", "/_portico/keys"),
    ("POST", "/_portico/used"), ("POST", "/_portico/issuers/refresh"), ("POST", "/_portico/spans"),
]  # fmt: skip


@pytest.fixture(scope="module")
def services() -> Iterator[Services]:
    with started() as running:
        assert running.first == {"type": "ready"}, running.log()
        yield running


def call(services: Services, method: str, path: str, body: object = None) -> tuple[int, dict[str, object]]:
    """A call of an administrator, as the edge passes it on."""
    fields = {"X-Request-Id": "r", "X-Portico-Principal": sign(ROOT, b"r", time.time(), KEY).decode()}
    if body is not None:
        fields["Content-Type"] = "application/json"
    data = None if body is None else json.dumps(body).encode()
    status, _, answer = services.get(path, method, fields, data)
    return status, json.loads(answer) if answer else {}


def issue(services: Services, **more: object) -> dict[str, object]:
    status, made = call(services, "POST", "/api/v1/admin/keys", {"name": "k", **more})
    assert status == 201, made
    return made


def sha256(made: dict[str, object]) -> str:
    return hashlib.sha256(str(made["key"]).encode()).hexdigest()


@pytest.mark.parametrize(("method", "path"), [*PATHS, ("GET", "/_portico/nothing"), ("GET", "/_portico")])
@pytest.mark.parametrize("proof", ["", "0" * 64, PROOF[:-1], PROOF + "0", PROOF.upper(), "ü" * 10])
def test_without_the_edge_s_proof_there_is_nothing(services: Services, method: str, path: str, proof: str) -> None:
    status, _, body = services.get(path, method, {"X-Portico-Internal": proof.encode("latin-1").decode("latin-1")})
    assert (status, json.loads(body)["code"]) == (404, "not_found")


def test_without_a_field_at_all_there_is_nothing_either(services: Services) -> None:
    for method, path in PATHS:
        assert services.get(path, method)[0] == 404


def test_internal_paths_are_not_in_the_document(services: Services) -> None:
    assert b"_portico" not in services.get("/openapi.json")[2]


def test_a_key_is_found_by_its_hash_with_all_that_the_edge_needs(services: Services) -> None:
    made = issue(services, permissions=["a:b"], networks=["10.0.0.0/8"], rate="5/second", burst=7, expires_in=60)
    status, body = ask(services, "POST", "/_portico/keys", {"sha256": sha256(made)})
    assert status == 200
    found = json.loads(body)["key"]
    assert 0 < found.pop("expires") - time.time() <= 60
    assert found == {
        "id": made["id"], "family": made["id"], "name": "k", "tenant": "default",
        "permissions": ["a:b"], "networks": ["10.0.0.0/8"],
        "per_minute": 0, "per_day": 10_000, "window": "", "rate": "5/second", "burst": 7, "quota": "",
    }  # fmt: skip
    assert ask(services, "POST", "/_portico/keys", {"sha256": "0" * 64}) == (200, b'{"key":null}')
    call(services, "DELETE", f"/api/v1/admin/keys/{made['id']}")
    assert ask(services, "POST", "/_portico/keys", {"sha256": sha256(made)}) == (200, b'{"key":null}')


@pytest.mark.parametrize("body", [None, {}, {"sha256": "xyz"}, {"sha256": "0" * 63}, {"sha256": 7}, []])
def test_a_malformed_question_is_refused(services: Services, body: object) -> None:
    assert ask(services, "POST", "/_portico/keys", body)[0] == 422


def test_prefixes_hold_the_first_eight_bytes_of_every_key_that_may_work(services: Services) -> None:
    made, gone = issue(services), issue(services)
    call(services, "DELETE", f"/api/v1/admin/keys/{gone['id']}")
    status, body = ask(services, "GET", "/_portico/keys/prefixes")
    assert status == 200
    found = [body[at : at + 8] for at in range(0, len(body), 8)]
    assert found == sorted(found)
    assert bytes.fromhex(sha256(made))[:8] in found
    assert bytes.fromhex(sha256(gone))[:8] not in found


def test_uses_are_noted_and_a_clock_that_runs_ahead_is_not_believed(services: Services) -> None:
    made, other = issue(services), issue(services)
    at = time.time() - 5
    used = {"keys": {made["id"]: at, other["id"]: time.time() + 9999, "no-such-key": at}}
    assert ask(services, "POST", "/_portico/used", used) == (204, b"")
    shown = str(call(services, "GET", f"/api/v1/admin/keys/{made['id']}")[1]["last_used_at"])
    assert abs(datetime.fromisoformat(shown).timestamp() - at) < 0.01
    shown = str(call(services, "GET", f"/api/v1/admin/keys/{other['id']}")[1]["last_used_at"])
    assert datetime.fromisoformat(shown) <= datetime.now(UTC)


def test_the_stream_begins_with_how_everything_stands_and_beats(services: Services) -> None:
    stream = Stream(services)
    assert stream.answer.headers["Content-Type"] == "application/x-ndjson"
    opening = stream.until("synced")
    assert [line["type"] for line in opening] == ["hello", "issuers", "revoked", "synced"]
    own = opening[1]["issuers"][0]
    assert (own["own"], own["issuer"], own["algorithms"]) == (True, "portico", ["EdDSA"])
    assert own["keys"][0]["kty"] == "OKP"
    assert "d" not in own["keys"][0]
    clocks = [stream.until("beat")[-1]["clock"] for _ in range(5)]
    assert opening[0]["clock"] <= clocks[0] + 0.25
    assert clocks == sorted(clocks)
    assert clocks[-1] <= time.monotonic()
    gaps = [later - earlier for earlier, later in pairwise(clocks)]
    assert sorted(gaps)[len(gaps) // 2] < 0.4
    stream.close()


def test_every_change_is_told_before_a_beat_that_is_later(services: Services) -> None:
    stream = Stream(services)
    stream.until("synced")
    for _ in range(5):
        made = issue(services)
        done = time.monotonic()
        lines = stream.until("key", 1.0)
        assert all(line["clock"] < done for line in lines if line["type"] == "beat")
        digest = sha256(made)
        assert lines[-1] == {
            "type": "key", "id": made["id"], "prefix": digest[:16], "sha256": digest, "op": "added",
        }  # fmt: skip
        call(services, "DELETE", f"/api/v1/admin/keys/{made['id']}")
        done = time.monotonic()
        lines = stream.until("key", 1.0)
        assert all(line["clock"] < done for line in lines if line["type"] == "beat")
        assert lines[-1]["op"] == "gone"
    stream.close()


def test_a_new_stream_knows_what_was_revoked_before_it(services: Services) -> None:
    body = {"email": "ann@example.com", "password": "correct horse battery"}
    person = call(services, "POST", "/api/v1/admin/users", body)[1]
    session = call(services, "POST", "/api/v1/auth/login", body)[1]
    before = Stream(services)
    before.until("synced")
    call(services, "PATCH", f"/api/v1/admin/users/{person['id']}", {"disabled": True})
    told: dict[str, float] = {}
    while not told:
        told = before.until("revoked")[-1]["sessions"]
    assert list(told) == [session["session_id"]]
    assert told[str(session["session_id"])] >= time.time() + 3000
    after = Stream(services)
    revoked = after.until("synced")[2]
    assert session["session_id"] in revoked["sessions"]
    assert revoked["subjects"][person["id"]] >= time.time() - 5
    before.close()
    after.close()


def test_a_drain_ends_the_streams_properly_and_at_once() -> None:
    with started() as services:
        streams = [Stream(services) for _ in range(3)]
        for stream in streams:
            stream.until("synced")
        services.channel.send({"type": "drain", "deadline": 30.0})
        began = time.monotonic()
        for stream in streams:
            while stream.line() is not None:
                pass  # http.client raises when the stream breaks off instead of ending
            stream.close()
        assert time.monotonic() - began < 1.0
        assert services.channel.receive()["type"] == "drained"
        assert time.monotonic() - began < 5.0


def test_a_reload_that_makes_new_plugins_ends_the_old_streams_and_the_next_goes_on() -> None:
    with started() as services:
        old = Stream(services)
        old.until("synced")
        made = issue(services)
        identity = replace(IDENTITY, tokens=Tokens(algorithm="HS256"))
        following = snapshot(2, PLUGINS, identity=identity)
        services.channel.send({"type": "reload", "snapshot": contracts.dump(following)})
        assert services.channel.receive() == {"type": "reloaded", "version": 2}
        deadline = time.monotonic() + 3
        while old.line() is not None:
            assert time.monotonic() < deadline
        new = Stream(services)
        keys = new.until("synced")[1]["issuers"][0]["keys"]
        assert {key["kty"] for key in keys} == {"oct"}
        assert ask(services, "POST", "/_portico/keys", {"sha256": sha256(made)})[1] != b'{"key":null}'
        jwks = json.loads(services.get("/api/v1/auth/jwks.json")[2])["keys"]
        assert {key["kty"] for key in jwks} == {"OKP"}  # a shared secret is nobody's business
        new.close()
        old.close()


def test_the_first_administrator_s_key_is_in_a_file_for_the_owner_only_and_made_once() -> None:
    with started() as services:
        path = Path(services.directory.name) / "gateway_token"
        text = path.read_text()
        assert path.stat().st_mode & 0o777 == 0o600
        key = text.strip()
        assert text == key + "\n"
        assert key not in services.log()
        digest = hashlib.sha256(key.encode()).hexdigest()
        found = json.loads(ask(services, "POST", "/_portico/keys", {"sha256": digest})[1])["key"]
        assert (found["permissions"], found["per_minute"], found["per_day"]) == (["*"], 0, 0)
        following = snapshot(2, PLUGINS, identity=replace(IDENTITY, tokens=Tokens(access=60.0)))
        path.unlink()
        services.channel.send({"type": "reload", "snapshot": contracts.dump(following)})
        assert services.channel.receive() == {"type": "reloaded", "version": 2}
        assert not path.exists()
        people = call(services, "GET", "/api/v1/admin/users")[1]["items"]
        assert isinstance(people, list)
        assert [person["name"] for person in people] == ["administrator"]


def test_without_its_database_it_says_so_and_does_not_beat_and_is_well_again_afterwards() -> None:
    with contextlib.ExitStack() as stack:
        url = stack.enter_context(postgres())
        asyncio.run(Database(url, Path("/nowhere"), None).upgrade())
        wanted = snapshot(plugins=PLUGINS, identity=IDENTITY, storage=contracts.Storage(url))
        services = stack.enter_context(Services(wanted))
        assert services.first == {"type": "ready"}, services.log()
        stream = Stream(services)
        stream.until("beat")
        server, _, name = url.rpartition("/")
        closed = f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS false'
        end = f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'"
        asyncio.run(execute(server + "/postgres", closed, end))
        began = time.monotonic()
        status, body = ask(services, "POST", "/_portico/keys", {"sha256": "0" * 64})
        assert (status, json.loads(body)["code"]) == (503, "database_unavailable")
        assert time.monotonic() - began < 5
        assert url not in services.log()
        reopened = f'ALTER DATABASE "{name}" ALLOW_CONNECTIONS true'
        opened = time.monotonic()
        asyncio.run(execute(server + "/postgres", reopened))
        # Beats that were made before the end may still be read; then comes none until the database is back.
        while (clock := stream.until("beat", 10.0)[-1]["clock"]) < opened:
            assert clock < began + 0.5
        assert ask(services, "POST", "/_portico/keys", {"sha256": "0" * 64}) == (200, b'{"key":null}')
        assert "unexpected error" not in services.log()
        stream.close()


async def execute(url: str, *statements: str) -> None:
    import asyncpg

    connection = await asyncpg.connect(url)
    try:
        for statement in statements:
            await connection.execute(statement)
    finally:
        await connection.close()


def test_without_accounts_the_services_still_serve() -> None:
    with Services(snapshot(plugins=(PUBLIC,))) as services:
        assert services.first == {"type": "ready"}
        assert ask(services, "POST", "/_portico/keys", {"sha256": "0" * 64})[0] == 404


def test_every_guarded_path_asks_for_the_caller_once_more(services: Services) -> None:
    """The edge has asked for credentials and permission; whoever comes past it meets the same."""
    document = json.loads(services.get("/openapi.json")[2])
    tried = 0
    for path, item in document["paths"].items():
        for method, operation in item.items():
            if not operation.get("security"):
                continue
            target = path.replace("{id}", "01890000-0000-7000-8000-000000000000")
            status, _, body = services.get(target, method.upper(), {"X-Request-Id": "r"})
            assert (status, json.loads(body)["code"]) == (401, "credentials_missing"), (method, path)
            if "Needs the permission" in operation.get("description", ""):
                weak = sign(Principal("weak", "key", "default", ("other:thing",)), b"r", time.time(), KEY).decode()
                fields = {"X-Request-Id": "r", "X-Portico-Principal": weak}
                status, _, body = services.get(target, method.upper(), fields)
                assert (status, json.loads(body)["code"]) == (403, "permission_missing"), (method, path)
            tried += 1
    assert tried >= 15
