"""Chains of many processes, killed ones among them; a new master key, a restore; heads that go to another machine."""

from __future__ import annotations

import asyncio
import contextlib
import http.server
import json
import random
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.integration import kept
from tests.integration.storage_processes import Worker
from tests.unit.storage.kit import Store

from portico.services.audit import heads as sending
from portico.storage.audit import check, heads, verify
from portico.storage.vault.rekey import rekey

SQLITE = "sqlite:///portico.db"


def report(store: Store) -> verify.Report:
    return store.run(check.database(store.db, store.vault, heads.of(store.data_dir)))


def both_agree(store: Store) -> None:
    """Every key has its record, and every record its key."""
    made = {row[0] for row in store.execute("SELECT id FROM api_keys")}
    recorded = [row[0] for row in store.execute("SELECT object_id FROM audit WHERE action = 'keys.create'")]
    assert len(recorded) == len(set(recorded))
    assert set(recorded) == made


def test_several_processes_write_and_some_are_killed(database_url: str, tmp_path: Path) -> None:
    with Store(database_url, tmp_path) as store, contextlib.ExitStack() as stack:
        workers = [stack.enter_context(Worker("write", database_url, tmp_path)) for _ in range(3)]
        for worker in workers:
            worker.line()
        said = sum(len(worker.kill()) + 1 for worker in workers)
        found = report(store)
        assert found.ok, found.findings
        assert found.writers == 3
        assert found.records >= said
        both_agree(store)


@pytest.mark.parametrize("kills", [5, pytest.param(100, marks=[pytest.mark.long, pytest.mark.timeout(900)])])
def test_after_every_kill_the_trail_is_whole_and_tells_all_that_was_done(tmp_path: Path, kills: int) -> None:
    chance = random.Random(kills)
    with Store(SQLITE, tmp_path) as store:
        for _ in range(kills):
            with Worker("write", SQLITE, tmp_path) as worker:
                worker.line()
                time.sleep(chance.uniform(0, 0.05))  # the moment of the kill is the chance that this test takes
                worker.kill()
            found = report(store)
            assert found.ok, found.findings
            both_agree(store)
        assert found.writers == kills


def verified(folder: Path, *arguments: str | Path) -> dict[str, Any]:
    done = kept.portico("audit", "verify", "--json", "--data-dir", folder, *arguments)
    found: dict[str, Any] = json.loads(done.stdout)
    assert done.returncode == (0 if found["ok"] else 1)
    return found


def test_a_new_master_key_leaves_old_chains_verifiable(database_url: str, tmp_path: Path) -> None:
    kept.fill(tmp_path, database_url)
    config = tmp_path / "portico.yaml"
    config.write_text(f"storage: {{url: '{database_url}'}}\n")
    out = tmp_path / "before.jsonl"
    assert kept.portico("audit", "export", "-c", config, "--data-dir", tmp_path, "--out", out).returncode == 0
    asyncio.run(rekey(tmp_path, None, database_url))
    with Store(database_url, tmp_path, migrated=True) as store:
        store.run(store.people.create("eve@example.com"))
        found = report(store)
    assert found.ok, found.findings
    assert found.writers == 3
    assert verified(tmp_path, "-c", config)["ok"]
    assert verified(tmp_path, "-c", config, out)["records"] == 9


def test_commands_on_the_vault_are_recorded(tmp_path: Path) -> None:
    kept.fill(tmp_path)
    where = ("--data-dir", tmp_path)
    new = {"PORTICO_NEW_PASSPHRASE": kept.PASSPHRASE}
    opened = {"PORTICO_PASSPHRASE": kept.PASSPHRASE}
    assert kept.portico("vault", "change-passphrase", *where, env=new).returncode == 0
    assert kept.portico("vault", "rekey", *where, env=opened).returncode == 0
    made = kept.portico("vault", "export-recovery", "--json", *where, env=opened)
    recovery = {"PORTICO_RECOVERY_KEY": json.loads(made.stdout)["recovery_key"]}
    assert kept.portico("vault", "recover", *where, env={**new, **recovery}).returncode == 0
    backup = tmp_path / "one.backup"
    assert kept.portico("db", "backup", backup, *where, env=opened).returncode == 0
    listed = kept.portico("audit", "list", "--json", *where, env=opened)
    items = json.loads(listed.stdout)["items"][:5]
    assert [each["action"] for each in items] == [
        "db.backup", "vault.recover", "vault.export_recovery", "vault.rekey", "vault.change_passphrase",
    ]  # fmt: skip
    assert {(each["actor_kind"], each["source"]) for each in items} == {("operator", "cli")}
    assert kept.portico("audit", "verify", *where, env=opened).returncode == 0


def test_a_restored_backup_is_whole_and_contradicts_newer_heads(tmp_path: Path) -> None:
    kept.fill(tmp_path)
    backup = tmp_path / "one.backup"
    assert kept.portico("db", "backup", backup, "--data-dir", tmp_path).returncode == 0
    with Store(SQLITE, tmp_path) as store:
        store.run(store.people.create("eve@example.com"))
    assert verified(tmp_path)["ok"]
    done = kept.portico("db", "restore", backup, "--force", "--data-dir", tmp_path)
    assert done.returncode == 0, done.stderr
    found = verified(tmp_path)
    assert {each["what"] for each in found["findings"]} == {verify.TRUNCATED}
    listed = json.loads(kept.portico("audit", "list", "--json", "--data-dir", tmp_path).stdout)["items"]
    assert [each["action"] for each in listed][:1] == ["db.restore"]
    (tmp_path / heads.FILE).unlink()
    assert verified(tmp_path)["ok"]


class Keeper(http.server.BaseHTTPRequestHandler):
    """Keeps what it is sent; refuses the first."""

    taken: list[dict[str, Any]]
    refuse: int

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["content-length"]))
        kind = type(self)
        if kind.refuse:
            kind.refuse -= 1
            self.send_response(503)
        else:
            kind.taken.append(json.loads(body))
            self.send_response(204)
        self.end_headers()

    def log_message(self, *_: Any) -> None:
        """Nothing."""


@pytest.fixture
def keeper() -> Iterator[tuple[type[Keeper], str]]:
    kind = type("Mine", (Keeper,), {"taken": [], "refuse": 1})
    with http.server.HTTPServer(("127.0.0.1", 0), kind) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield kind, f"http://127.0.0.1:{server.server_port}/heads"
        server.shutdown()
        thread.join()


def test_heads_go_to_another_machine(
    tmp_path: Path, keeper: tuple[type[Keeper], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    kind, url = keeper
    monkeypatch.setattr(sending, "PAUSE", 0.01)
    with Store(SQLITE, tmp_path) as store:

        async def work() -> None:
            sender = sending.Sender(store.db, url)
            await sender.start()
            assert await sender.send()  # nothing yet
            await store.people.create("eve@example.com")
            assert await sender.send()
            assert await sender.send()  # nothing new
            await store.people.create("ann@example.com")
            await sender.stop()
            kind.refuse = 9
            away = sending.Sender(store.db, url)
            await away.start()
            assert not await away.send()
            await away.stop()

        store.run(work())
        file = tmp_path / "kept.jsonl"
        file.write_text("".join(json.dumps(each) + "\n" for each in kind.taken))
        assert [each["sequence"] for each in kind.taken] == [1, 2]
        store.execute("DELETE FROM audit WHERE sequence = 2")
    assert [each["what"] for each in verified(tmp_path, "--heads", file)["findings"]] == [verify.TRUNCATED]
