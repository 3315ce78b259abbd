"""Is the trail as it was written? Walks every chain, and names the first record of each that is not.

What is found: a record that was altered, put in, moved or removed, a chain whose end was cut off, a chain that is gone,
a pruning that nobody with the key has done. A table that was put back whole to an earlier state is found by heads that
were published since; by nothing else.
"""

from __future__ import annotations

import hmac
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Final

from portico.storage.audit import chain
from portico.storage.audit.chain import NOTHING, Head, Record, Writer

ALTERED: Final = "altered"
MISSING: Final = "missing"
REORDERED: Final = "reordered"
TRUNCATED: Final = "truncated"
UNKNOWN: Final = "unknown"
KEYLESS: Final = "no_key"
MOST: Final = 100  # findings that are kept


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing wrong; `sequence` 0 is the chain as a whole."""

    what: str
    writer: str
    sequence: int
    said: str


@dataclass(frozen=True, slots=True)
class Report:
    """What was looked at, and what is wrong with it, chain by chain in the order in which they were begun."""

    writers: int
    records: int
    heads: int
    pruned: int
    findings: list[Finding] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        return not self.findings


@dataclass(slots=True)
class _Walk:
    """Where one chain is being read: the next number, the link before it, places where it did not fit."""

    expected: int
    before: bytes
    broken: bool = False
    places: list[tuple[Finding, bytes]] = field(default_factory=list)


class Verifier:
    """Takes all records of a trail, chain by chain, each in its order; `report` at the end."""

    def __init__(self, keys: Mapping[str, bytes], writers: Sequence[Writer], heads: Iterable[Head] = ()) -> None:
        self._keys = keys
        self._writers = {each.writer: each for each in writers}
        self._order = {each.writer: each.number for each in writers}
        self._walks: dict[str, _Walk] = {}
        self._strange: set[str] = set()
        self._findings: list[Finding] = []
        self._records = 0
        self._heads: dict[str, dict[int, str]] = {}
        self._seen: dict[str, dict[int, str]] = {}
        self._count = 0
        self._take_writers(writers)
        self._take_heads(heads)

    def take(self, record: Record, link: bytes) -> None:
        """The next record."""
        self._records += 1
        writer = self._writers.get(record.writer)
        if writer is None:
            if record.writer not in self._strange:
                self._strange.add(record.writer)
                self._find(UNKNOWN, record.writer, record.sequence, "belongs to a chain that is not known")
            return
        published = self._heads.get(record.writer)
        if published is not None and record.sequence in published:
            self._seen.setdefault(record.writer, {})[record.sequence] = link.hex()
        key = self._keys.get(writer.key_id)
        if key is not None:
            self._walk(key, writer, record, link)

    def report(self) -> Report:
        """What was found; nothing more is taken after it."""
        for writer in self._writers.values():
            if writer.key_id in self._keys:
                self._end(writer)
        self._compare_heads()
        last = len(self._writers) + 1
        self._findings.sort(key=lambda each: (self._order.get(each.writer, last), each.writer, each.sequence))
        pruned = sum(each.pruned for each in self._writers.values())
        return Report(len(self._writers), self._records, self._count, pruned, self._findings[:MOST])

    def _take_writers(self, writers: Sequence[Writer]) -> None:
        before, expected = NOTHING, 1
        for each in writers:
            key = self._keys.get(each.key_id)
            if each.number > expected:
                self._find(MISSING, each.writer, 0, f"a chain that was begun before this one is gone (no. {expected})")
            if key is None:
                self._find(KEYLESS, each.writer, 0, f"its key ({each.key_id}) is not there: it can't be verified")
            else:
                link = chain.writer_link(key, before, each.writer, each.number, each.key_id, each.began)
                if each.number == expected and not hmac.compare_digest(link, each.link):
                    self._find(ALTERED, each.writer, 0, "the beginning of the chain was altered or put in")
                state = chain.state_mac(key, each.writer, each.sequence, each.head, each.pruned, each.pruned_head)
                if not hmac.compare_digest(state, each.mac):
                    said = "what the chain says of its end, or of what was pruned, was altered"
                    self._find(ALTERED, each.writer, each.sequence, said)
            before, expected = each.link, each.number + 1

    def _take_heads(self, heads: Iterable[Head]) -> None:
        for head in heads:
            self._count += 1
            key = self._keys.get(head.key_id)
            if key is None:
                self._find(KEYLESS, head.writer, head.sequence, "the key of a published head is not there")
            elif not head.proven(key):
                self._find(ALTERED, head.writer, head.sequence, "a published head was altered: it is not this vault's")
            else:
                self._heads.setdefault(head.writer, {})[head.sequence] = head.head

    def _walk(self, key: bytes, writer: Writer, record: Record, link: bytes) -> None:
        walk = self._walks.get(record.writer)
        if walk is None:
            walk = self._walks[record.writer] = _Walk(writer.pruned + 1, writer.pruned_head)
        if record.sequence > writer.sequence:
            self._find(UNKNOWN, record.writer, record.sequence, "stands after the end of its chain: it was put in")
            return
        if record.sequence < walk.expected:
            self._find(UNKNOWN, record.writer, record.sequence, "stands where records were pruned")
            return
        if record.sequence > walk.expected:
            upto = record.sequence - 1
            said = "is missing" if upto == walk.expected else f"and those up to {upto} are missing"
            self._find(MISSING, record.writer, walk.expected, said)
            walk.broken = False  # the link before is not known: whether this one was altered can't be told
        elif hmac.compare_digest(chain.record_link(key, walk.before, record), link):
            walk.broken = False
        else:
            self._misfit(key, walk, record, link)
        walk.expected, walk.before = record.sequence + 1, link

    def _misfit(self, key: bytes, walk: _Walk, record: Record, link: bytes) -> None:
        """A record that does not follow the one before: another's place, or altered."""
        for found, before in walk.places:
            moved = replace(record, sequence=found.sequence)
            if hmac.compare_digest(chain.record_link(key, before, moved), link):
                if found in self._findings:
                    said = f"was moved: the record that belongs here stands at {record.sequence}"
                    at = self._findings.index(found)
                    self._findings[at] = Finding(REORDERED, found.writer, found.sequence, said)
                walk.broken = True
                return
        finding = Finding(ALTERED, record.writer, record.sequence, "was altered, or put in the place of another")
        if len(walk.places) < MOST:
            walk.places.append((finding, walk.before))
        if not walk.broken:  # what follows a misfit does not fit either, until one does
            self._find(finding.what, finding.writer, finding.sequence, finding.said)
        walk.broken = True

    def _end(self, writer: Writer) -> None:
        walk = self._walks.get(writer.writer) or _Walk(writer.pruned + 1, writer.pruned_head)
        if walk.expected <= writer.sequence:
            said = (
                "is missing" if walk.expected == writer.sequence else f"and those up to {writer.sequence} are missing"
            )
            self._find(TRUNCATED, writer.writer, walk.expected, f"{said}: the end of the chain was cut off")
        elif not walk.broken and not hmac.compare_digest(walk.before, writer.head):
            self._find(ALTERED, writer.writer, writer.sequence, "the chain does not end with the record that it names")

    def _compare_heads(self) -> None:
        for name, published in self._heads.items():
            writer = self._writers.get(name)
            latest = max(published)
            if writer is None:
                self._find(
                    TRUNCATED, name, 1, f"and those up to {latest} are gone with their chain; its head was published"
                )
                continue
            if latest > writer.sequence:
                said = f"and those up to {latest} are gone: a published head knows them"
                self._find(TRUNCATED, name, writer.sequence + 1, said)
            for sequence, link in self._seen.get(name, {}).items():
                if link != published[sequence]:
                    self._find(ALTERED, name, sequence, "differs from the head that was published")

    def _find(self, what: str, writer: str, sequence: int, said: str) -> None:
        if len(self._findings) < 10 * MOST:
            self._findings.append(Finding(what, writer, sequence, said))
