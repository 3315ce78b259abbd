"""The model card: what was measured on rows that were not trained on, as Markdown."""

from __future__ import annotations

import codecs
from base64 import b64encode
from collections import Counter
from collections.abc import Callable, Iterable
from typing import Final
from urllib.parse import quote

from portico.detection.detector import Detector
from portico.detection.verdict import THREATS
from train_detector.measure import above, auc, matched_auc, reliability, threshold
from train_detector.rows import Row

HIDINGS: Final[tuple[tuple[str, Callable[[str], str]], ...]] = (
    ("as it is", str),
    ("base64", lambda text: b64encode(text.encode()).decode()),
    ("hex", lambda text: text.encode().hex()),
    ("URL", lambda text: "".join(f"%{byte:02X}" for byte in text.encode())),
    ("rot13", lambda text: codecs.encode(text, "rot13")),
    ("base64 of rot13", lambda text: b64encode(codecs.encode(text, "rot13").encode()).decode()),
    ("leetspeak", lambda text: text.translate(str.maketrans("oieast", "013457"))),
    ("spaced letters", lambda text: "  ".join(" ".join(word) for word in text.split())),
    ("zero-width", "\u200b".join),
    ("homoglyphs", lambda text: text.translate(str.maketrans("aeopcx", "аеорсх"))),
    ("percent in words", lambda text: quote(text)),
)


class Scored:
    """Rows with the confidence that a detector gave them."""

    def __init__(self, rows: Iterable[Row], detector: Detector) -> None:
        self.rows = list(rows)
        self.scores = [detector.detect(row.text).confidence for row in self.rows]
        self.attacks = [score for score, row in zip(self.scores, self.rows, strict=True) if row.attack]
        self.benign = [score for score, row in zip(self.scores, self.rows, strict=True) if not row.attack]

    def of(self, fits: Callable[[Row], bool]) -> list[float]:
        """The scores of the rows that fit."""
        return [score for score, row in zip(self.scores, self.rows, strict=True) if fits(row)]


def table(head: tuple[str, ...], lines: Iterable[tuple[object, ...]]) -> str:
    """A Markdown table."""
    rows = ["| " + " | ".join(head) + " |", "|" + "---|" * len(head)]
    return "\n".join([*rows, *("| " + " | ".join(_cell(cell) for cell in line) + " |" for line in lines)])


def _cell(value: object) -> str:
    if isinstance(value, float):
        return "–" if value != value else f"{value:.3f}"
    return str(value)


def summary(scored: Scored, name: str) -> tuple[object, ...]:
    """One line: rows, AUC, AUC among texts of like length, what length alone would give, recall."""
    lengths = [len(row.text) for row in scored.rows]
    kinds = [row.attack for row in scored.rows]
    return (
        name,
        len(scored.attacks),
        len(scored.benign),
        auc(scored.attacks, scored.benign),
        matched_auc(list(zip(scored.scores, lengths, kinds, strict=True))),
        auc(
            [len(row.text) for row in scored.rows if row.attack],
            [len(row.text) for row in scored.rows if not row.attack],
        ),
        above(scored.attacks, threshold(scored.benign, 0.01)),
        above(scored.attacks, threshold(scored.benign, 0.05)),
        above(scored.attacks, 0.5999),
        above(scored.benign, 0.5999),
    )


SUMMARY: Final = (
    "rows",
    "attacks",
    "benign",
    "AUC",
    "AUC at like length",
    "AUC of length alone",
    "recall at 1 %",
    "recall at 5 %",
    "recall at 0.6",
    "false alarms at 0.6",
)


def by_threat(scored: Scored) -> str:
    """Recall of each threat at thresholds that let 1 % and 5 % of the benign rows through."""
    one, five = threshold(scored.benign, 0.01), threshold(scored.benign, 0.05)
    lines = []
    for threat in THREATS:
        mine = scored.of(lambda row, threat=threat: row.threat == threat)  # type: ignore[misc]
        lines.append((threat, len(mine), above(mine, one), above(mine, five), above(mine, 0.5999)))
    head = ("threat", "rows", f"recall at 1 % (over {one:.3f})", f"recall at 5 % (over {five:.3f})", "recall at 0.6")
    return table(head, lines)


def by_source(scored: Scored) -> str:
    """What is flagged at the default threshold, by file."""
    sources = Counter((row.source, row.attack) for row in scored.rows)
    lines = []
    for source, attack in sorted(sources):
        mine = scored.of(lambda row, key=(source, attack): (row.source, row.attack) == key)  # type: ignore[misc]
        lines.append((source, "attacks" if attack else "benign", len(mine), above(mine, 0.5999)))
    return table(("file", "side", "rows", "flagged at 0.6"), lines)


def by_confidence(scored: Scored) -> str:
    """The reliability table and the expected calibration error."""
    error, bins = reliability(scored.scores, [row.attack for row in scored.rows])
    return f"Expected calibration error {error:.3f}.\n\n" + table(("mean confidence", "share of attacks", "rows"), bins)


def by_hiding(rows: list[Row], detector: Detector) -> str:
    """Short attacks and benign texts, hidden in each way: what is flagged at 0.6."""
    short = [row for row in rows if 20 <= len(row.text) <= 300 and row.text.isascii()]
    lines = []
    for name, hide in HIDINGS:
        scored = Scored([Row(hide(row.text), row.attack, row.source, row.kind, row.threat) for row in short], detector)
        lines.append((name, above(scored.attacks, 0.5999), above(scored.benign, 0.5999)))
    attacks = sum(1 for row in short if row.attack)
    head = (f"hidden in ({attacks} attacks, {len(short) - attacks} benign)", "attacks flagged", "benign flagged")
    return table(head, lines)
