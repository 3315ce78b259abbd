"""The intake on a real database: every genuine record once, whatever else lies there."""

from __future__ import annotations

import asyncio
import io
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.ext.asyncio import AsyncSession
from tests.unit.storage.kit import Store

from portico.errors import StorageUnavailable
from portico.services.usage import intake as module
from portico.services.usage.intake import Intake
from portico.services.usage.takers import TAKERS
from portico.storage.usage.intake import LABEL, SpoolIntake
from portico.telemetry import logs
from portico.telemetry.spool import SegmentWriter, SpoolKey
from portico.telemetry.spool.format import HEAD, RECORD

MINUTE = 1_700_000_040


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store("sqlite:///portico.db", tmp_path) as made:
        yield made


@pytest.fixture
def log() -> io.StringIO:
    stream = io.StringIO()
    logs.configure("info", "json", stream)
    return stream


def key(store: Store) -> SpoolKey:
    return SpoolKey(store.vault.key(LABEL))


def row(requests: int = 1, name: str = "ada") -> list[Any]:
    return [MINUTE, name, "", "key", "acme", "users", "GET", 200, requests, 0, 0, [requests, *[0] * 13], 0.001]


def writer(store: Store, records: int = 3, **more: Any) -> SegmentWriter:
    """Each record counts one request."""
    made = SegmentWriter(store.data_dir / "spool", key(store), **more)
    for _ in range(records):
        made.append("usage", float(MINUTE), [row()])
    return made


def taking(store: Store, **more: Any) -> Intake:
    made = Intake(store.data_dir / "spool", SpoolIntake(store.db, store.vault, {**TAKERS, **more}))
    assert made._mine()
    return made


def counted(store: Store) -> int:
    return int(store.execute("SELECT coalesce(sum(requests), 0) FROM usage_minutes")[0][0])


def files(store: Store) -> list[Path]:
    return sorted((store.data_dir / "spool").glob("*.spool"))


def test_what_a_living_writer_has_written_is_taken_in_and_its_segment_stays(store: Store) -> None:
    made, intake = writer(store), taking(store)
    for _ in range(3):
        store.run(intake.look())
        assert counted(store) == 3
    made.append("usage", 1.0, [row(4)])
    store.run(intake.look())
    assert counted(store) == 7
    assert len(files(store)) == 1
    made.close()
    store.run(intake.look())
    assert files(store) == []
    assert counted(store) == 7
    assert store.execute("SELECT * FROM spool_writers") == []


def test_rotated_segments_go_as_soon_as_they_are_taken_in(store: Store) -> None:
    made, intake = writer(store, 20, longest=1000), taking(store)
    before = files(store)
    assert len(before) > 3
    store.run(intake.look())
    assert files(store) == before[-1:]
    assert counted(store) == 20
    made.append("usage", 1.0, [row()])
    # Another process takes over: it knows what was taken in from the database alone.
    os.close(intake._lock)
    store.run(taking(store).look())
    assert counted(store) == 21


def test_one_process_takes_in_at_a_time(store: Store) -> None:
    writer(store)
    first = taking(store)
    second = Intake(store.data_dir / "spool", SpoolIntake(store.db, store.vault, TAKERS))
    assert not second._mine()
    os.close(first._lock)
    assert second._mine()


def test_a_death_between_the_commit_and_the_removal_counts_nothing_twice(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    writer(store).close()
    with monkeypatch.context() as broken:
        broken.setattr(Intake, "_remove", lambda *_: (_ for _ in ()).throw(OSError("killed")))
        intake = taking(store)
        with pytest.raises(OSError, match="killed"):
            store.run(intake.look())
    assert counted(store) == 3
    assert len(files(store)) == 1
    os.close(intake._lock)
    store.run(taking(store).look())
    assert counted(store) == 3
    assert files(store) == []


def test_a_transaction_that_fails_leaves_all_for_the_next_time(store: Store) -> None:
    made = writer(store)
    failing = True

    async def away(session: AsyncSession, records: list[dict[str, Any]]) -> None:
        await TAKERS["usage"](session, records)
        if failing:
            raise StorageUnavailable("away")

    intake = taking(store, usage=away)
    with pytest.raises(StorageUnavailable):
        store.run(intake.look())
    assert counted(store) == 0
    failing = False
    store.run(intake.look())
    assert counted(store) == 3
    made.close()


def test_damage_is_told_and_the_rest_goes_on(store: Store, log: io.StringIO) -> None:
    writer(store, 5).close()
    path = files(store)[0]
    data = bytearray(path.read_bytes())
    second = HEAD.size + RECORD.size + RECORD.unpack_from(data, HEAD.size)[1]
    data[second + RECORD.size + 7] ^= 1
    path.write_bytes(data)
    intake = taking(store)
    store.run(intake.look())
    assert counted(store) == 4
    assert (intake.refused, intake.missing) == (1, 1)
    assert "the spool was altered" in log.getvalue()
    assert (store.data_dir / "spool" / "intake").read_text() == '{"refused": 1, "missing": 1}'
    os.close(intake._lock)
    assert taking(store).refused == 1, "counts outlive the process"


def test_a_segment_of_an_unknown_key_is_put_aside_and_the_others_go_on(store: Store) -> None:
    stranger = SegmentWriter(store.data_dir / "spool", SpoolKey(bytes(32)))
    stranger.append("usage", 1.0, [row()])
    stranger.close()
    (store.data_dir / "spool" / "00000000-0000-0000-0000-000000000001-00000001.spool").write_bytes(b"no head")
    (store.data_dir / "spool" / "half-made.new").write_bytes(b"")
    writer(store, 3).close()
    store.run(taking(store).look())
    assert counted(store) == 3
    assert not list((store.data_dir / "spool").glob("*.new"))
    assert len(list((store.data_dir / "spool").glob("*.unreadable"))) == 2
    assert files(store) == []


def test_what_was_written_before_a_new_master_key_is_still_read(store: Store) -> None:
    """The old key is kept, sealed; `portico vault rekey` seals it anew like every such field."""
    old = SegmentWriter(store.data_dir / "spool", SpoolKey(bytes(range(32))))
    sealed = store.vault.seal(bytes(range(32)), f"spool_keys/{SpoolKey(bytes(range(32))).id}")

    async def keep() -> None:
        from portico.storage.ids import now
        from portico.storage.tables import SpoolKeyRow

        async with store.db.write() as session:
            session.add(SpoolKeyRow(id=SpoolKey(bytes(range(32))).id, sealed=sealed, created_at=now()))

    store.run(keep())
    old.append("usage", 1.0, [row()])
    old.close()
    store.run(taking(store).look())
    assert counted(store) == 1


def test_a_record_that_no_taker_wants_holds_nothing_up(store: Store, log: io.StringIO) -> None:
    made = writer(store, 2)
    made.append("usage", 1.0, [["no", "row"]])
    made.append("gossip", 1.0, [[1]])
    made.append("gossip", 1.0, [[2]])
    made.append("usage", 1.0, [row()])
    made.close()
    intake = taking(store)
    store.run(intake.look())
    assert counted(store) == 3
    assert intake.taking.refused == 1
    said = log.getvalue()
    assert said.count("can't be kept") == 1
    assert said.count("nobody here takes") == 1


def test_the_task_follows_takes_the_rest_at_its_end_and_outlives_trouble(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "EVERY", 0.01)
    monkeypatch.setattr(module, "PUT_OFF", 0.01)
    troubles: list[Exception] = [StorageUnavailable("away"), RuntimeError("nobody expected it"), OSError("disk")]

    async def take(session: AsyncSession, records: list[dict[str, Any]]) -> None:
        if troubles:
            raise troubles.pop()
        await TAKERS["usage"](session, records)

    intake = Intake(store.data_dir / "spool", SpoolIntake(store.db, store.vault, {"usage": take}))

    async def follow() -> None:
        intake.start()
        made = writer(store, 3)
        async with asyncio.timeout(10):
            while await intake.taking.taken(made.writer) < 3:
                await asyncio.sleep(0.01)
        made.append("usage", 1.0, [row()])
        made.close()
        await intake.stop()
        await intake.stop()

    store.run(follow())
    assert counted(store) == 4
    assert files(store) == []
