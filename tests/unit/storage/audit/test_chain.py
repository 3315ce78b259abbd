"""Any change to a trail is found, and the record is named; on values, without a database."""

from __future__ import annotations

import json
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from portico.errors import AuditError
from portico.storage.audit import chain, source, verify
from portico.storage.audit.chain import NOTHING, Head, Record, Writer
from portico.storage.audit.verify import Verifier

KEY, KEY_ID = bytes(range(32)), "f" * 32


@dataclass
class Trail:
    """Chains as they would be written, and what was written of each: records with their links."""

    writers: list[Writer] = field(default_factory=list)
    records: dict[str, list[tuple[Record, bytes]]] = field(default_factory=dict)

    def begin(self) -> str:
        before = self.writers[-1].link if self.writers else NOTHING
        number = len(self.writers) + 1
        name = f"writer-{number}"
        link = chain.writer_link(KEY, before, name, number, KEY_ID, number)
        self.writers.append(Writer(name, number, KEY_ID, number, link, 0, link, 0, link, b""))
        self.records[name] = []
        self.prove(number - 1)
        return name

    def prove(self, at: int, **changes: Any) -> None:
        row = replace(self.writers[at], **changes)
        mac = chain.state_mac(KEY, row.writer, row.sequence, row.head, row.pruned, row.pruned_head)
        self.writers[at] = replace(row, mac=mac)

    def add(self, at: int, action: str) -> None:
        row = self.writers[at]
        number = row.sequence + 1
        values = ("default", "key", "me", action, "key", "it", "10.0.0.1", "ok", "", "r", "{}")
        record = Record(row.writer, number, f"id-{at}-{number}", number, *values)
        link = chain.record_link(KEY, row.head, record)
        self.records[row.writer].append((record, link))
        self.prove(at, sequence=number, head=link)

    def prune(self, at: int, upto: int) -> None:
        kept = self.records[self.writers[at].writer]
        head = kept[upto - 1][1]
        del kept[:upto]
        self.prove(at, pruned=upto, pruned_head=head)

    def head(self, at: int) -> Head:
        row = self.writers[at]
        return Head.of(KEY, datetime.now(UTC), row.writer, row.sequence, row.head, KEY_ID)

    def verify(self, *heads: Head, keys: dict[str, bytes] | None = None) -> verify.Report:
        verifier = Verifier({KEY_ID: KEY} if keys is None else keys, self.writers, heads)
        for _, kept in sorted(self.records.items()):
            for record, link in sorted(kept, key=lambda each: each[0].sequence):
                verifier.take(record, link)
        return verifier.report()

    def found(self, *heads: Head) -> tuple[str, str, int]:
        """The first finding."""
        first = self.verify(*heads).findings[0]
        return first.what, first.writer, first.sequence


def trail(*lengths: int) -> Trail:
    made = Trail()
    for at, length in enumerate(lengths):
        made.begin()
        for number in range(length):
            made.add(at, f"keys.{number}")
    return made


sizes = st.lists(st.integers(1, 8), min_size=1, max_size=4)


@given(sizes)
def test_what_is_as_it_was_written_is_found_whole(lengths: list[int]) -> None:
    made = trail(*lengths)
    report = made.verify(*(made.head(at) for at in range(len(lengths))))
    assert report.ok
    assert (report.writers, report.records, report.heads) == (len(lengths), sum(lengths), len(lengths))


@settings(max_examples=200)
@given(sizes, st.data())
def test_any_field_of_any_record_that_was_altered(lengths: list[int], data: st.DataObject) -> None:
    made = trail(*lengths)
    name = f"writer-{data.draw(st.integers(1, len(lengths)))}"
    at = data.draw(st.integers(0, len(made.records[name]) - 1))
    record, link = made.records[name][at]
    what = data.draw(st.sampled_from([name for name in chain.NAMES if name not in ("writer", "sequence")]))
    value: Any = record.at + 1 if what == "at" else getattr(record, what) + data.draw(st.text(min_size=1, max_size=3))
    made.records[name][at] = replace(record, **{what: value}), link
    assert made.found() == (verify.ALTERED, name, at + 1)
    assert len(made.verify().findings) == 1


@settings(max_examples=200)
@given(sizes, st.data())
def test_any_record_that_was_removed(lengths: list[int], data: st.DataObject) -> None:
    made = trail(*lengths)
    name = f"writer-{data.draw(st.integers(1, len(lengths)))}"
    kept = made.records[name]
    at = data.draw(st.integers(0, len(kept) - 1))
    upto = data.draw(st.integers(at, len(kept) - 1))
    last = upto == len(kept) - 1
    del kept[at : upto + 1]
    assert made.found() == (verify.TRUNCATED if last else verify.MISSING, name, at + 1)


@settings(max_examples=200)
@given(st.integers(2, 8), st.data())
def test_any_two_records_that_changed_places(length: int, data: st.DataObject) -> None:
    made = trail(2, length)
    kept = made.records["writer-2"]
    one, other = sorted(data.draw(st.lists(st.integers(0, length - 1), min_size=2, max_size=2, unique=True)))
    first, second = kept[one], kept[other]
    kept[one] = replace(second[0], sequence=one + 1), second[1]
    kept[other] = replace(first[0], sequence=other + 1), first[1]
    assert made.found() == (verify.REORDERED, "writer-2", one + 1)


@given(st.integers(1, 6), st.integers(0, 6))
def test_a_record_that_was_put_in(length: int, at: int) -> None:
    made = trail(length)
    kept = made.records["writer-1"]
    at = min(at, length)
    later = [(replace(record, sequence=record.sequence + 1), link) for record, link in kept[at:]]
    made.records["writer-1"] = [*kept[:at], (replace(kept[0][0], sequence=at + 1), bytes(32)), *later]
    assert made.found()[1:] == ("writer-1", at + 1)


def test_a_tail_that_was_cut_off_with_the_state_of_then_is_told_by_a_head() -> None:
    made = trail(3)
    before = made.writers[0]
    made.add(0, "keys.revoke")
    head = made.head(0)
    made.records["writer-1"].pop()
    made.writers[0] = before  # an earlier copy of the row, which was proven then
    assert made.verify().ok
    assert made.found(head) == (verify.TRUNCATED, "writer-1", 4)


def test_a_trail_that_was_written_anew_differs_from_its_head() -> None:
    made, again = trail(3), trail(3)
    again.records["writer-1"].clear()
    again.writers.clear()
    again.begin()
    for number in range(3):
        again.add(0, f"other.{number}")
    assert again.verify().ok
    assert again.found(made.head(0)) == (verify.ALTERED, "writer-1", 3)


def test_a_chain_that_is_gone() -> None:
    made = trail(1, 2, 3)
    head = made.head(2)
    del made.writers[1], made.records["writer-2"]
    assert made.found() == (verify.MISSING, "writer-3", 0)
    made = trail(1, 2, 3)
    del made.writers[2], made.records["writer-3"]
    assert made.verify().ok  # the last: nothing that is left knows of it
    assert made.found(head) == (verify.TRUNCATED, "writer-3", 1)
    made = trail(1, 2)
    del made.writers[1]
    assert made.found() == (verify.UNKNOWN, "writer-2", 1)


def test_a_chain_that_was_put_in_or_begun_anew() -> None:
    made = trail(1, 1)
    made.writers[1] = replace(made.writers[1], began=7)
    assert made.found() == (verify.ALTERED, "writer-2", 0)


def test_pruning_is_proven() -> None:
    made = trail(2, 6)
    head = made.head(1)
    made.prune(1, 4)
    report = made.verify(head)
    assert report.ok
    assert report.pruned == 4
    forged = trail(6)
    row = forged.writers[0]
    link = forged.records["writer-1"][2][1]
    del forged.records["writer-1"][:3]
    forged.writers[0] = replace(row, pruned=3, pruned_head=link)
    assert forged.found()[:2] == (verify.ALTERED, "writer-1")


def test_a_head_that_was_altered_or_is_another_vault_s() -> None:
    made = trail(2)
    assert made.found(replace(made.head(0), sequence=1)) == (verify.ALTERED, "writer-1", 1)
    assert made.found(replace(made.head(0), key_id="other"))[0] == verify.KEYLESS


def test_without_its_key_nothing_is_said_to_be_well() -> None:
    report = trail(2).verify(keys={})
    assert [each.what for each in report.findings] == [verify.KEYLESS]


def test_an_export_is_read_strictly() -> None:
    with pytest.raises(AuditError, match="no export"):
        source.read(['{"format": "other"}'])
    with pytest.raises(AuditError, match="line 1"):
        source.read(["nothing"])
    head = json.dumps({"format": source.FORMAT, "writers": []})
    with pytest.raises(AuditError, match="breaks off"):
        list(source.read([head])[1])
    with pytest.raises(AuditError, match="has 0"):
        list(source.read([head, '{"records": 2}'])[1])
    with pytest.raises(AuditError, match="line 2 of the export is no record"):
        list(source.read([head, '{"writer": 1}'])[1])
