"""Judges a text: undoes what hides it, looks for the rules, asks the model, and says how sure it is and why."""

from __future__ import annotations

from collections.abc import Generator, Iterator
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Final

from portico.detection import lexicon
from portico.detection.decoding import Known, View, views
from portico.detection.folding import Folder
from portico.detection.marks import MARKS, marks
from portico.detection.matching import Matcher
from portico.detection.model import Model, Weights, Window
from portico.detection.reasons import reason
from portico.detection.rules import RULES
from portico.detection.tokens import Tokens, places_of
from portico.detection.verdict import ENCODING, INJECTION, THREATS, Finding, Settings, Verdict

DEFAULTS: Final = Settings()
MOST_EVIDENCE: Final = 5
MOST_FINDINGS: Final = 40
MOST_TELLING: Final = 5


@dataclass(frozen=True, slots=True)
class Seen:
    """What one view of a text came to. `confidence` is in thousandths."""

    view: View
    words: list[str]
    window: Window
    findings: tuple[Finding, ...]
    confidence: int


class Detector:
    """The embedded detector. One is made at start and judges any number of texts; not for several threads at once."""

    def __init__(self, weights: Weights | None = None) -> None:
        self._folder = Folder()
        words = lexicon.build(self._folder.fold)
        self._known = Known.of(words)
        self._tokens = Tokens(words)
        self._matcher = Matcher(RULES, words)
        self.model = Model(weights or Weights.load())
        judged_by = repr((RULES, MARKS, sorted(words.items()), self.model.weights))
        self.version: Final = sha256(judged_by.encode()).hexdigest()[:12]  # of one version all verdicts are alike

    def detect(self, text: str, settings: Settings = DEFAULTS) -> Verdict:
        """The verdict on `text`, which `check_text` has passed (else it is judged as far as it is text).

        Takes some tenths of a millisecond for 500 characters and some 4 ms for 10,000; `scan` does it in slices.
        """
        for verdict in self.scan(text, settings):
            if verdict:
                return verdict
        raise AssertionError("a scan ends with a verdict")

    def scan(self, text: str, settings: Settings = DEFAULTS) -> Iterator[Verdict | None]:
        """`detect` in slices: None where others may have their turn, the verdict last.

        A slice is the rules' or the model's look at one text: the given one, then each that was hidden in it.
        """
        first = yield from self._see(View(text, 0, len(text), ()))
        yield None
        seen = [first]
        for view in views(text, first.words, self._known, self.words):
            seen.append((yield from self._see(view)))
            yield None
        yield self._judge(seen, settings)

    def words(self, text: str) -> list[str]:
        """The words of `text` as rules and model see them."""
        return self._tokens.split(self._folder.fold(text))

    def evidence(self, text: str) -> int:
        """What the rules say of `text` alone, with nothing decoded: 0 to 5."""
        folded = self._folder.fold(text)
        return evidence(self._findings(View(text, 0, len(text), ()), folded, self._tokens.split(folded)))

    def _see(self, view: View) -> Generator[None, None, Seen]:
        folded = self._folder.fold(view.text)
        words = self._tokens.split(folded)
        found = self._findings(view, folded, words)
        yield None
        window = self.model.best(words)
        return Seen(view, words, window, found, self.model.weights.confidence(window.score, evidence(found)))

    def _findings(self, view: View, folded: str, words: list[str]) -> tuple[Finding, ...]:
        matches = self._matcher.matches(words)
        places = places_of(words[: max((match.last for match in matches), default=-1) + 1], folded)
        found = [
            Finding(
                match.rule.id, match.rule.threat, places[match.first][0], places[match.last][1], match.rule.strength
            )
            for match in matches
        ]
        found += [Finding(mark.id, mark.threat, start, end, mark.strength) for mark, start, end in marks(folded)]
        if not found:
            return ()
        if view.via:
            return tuple(replace(one, start=view.start, end=view.end, via=view.via) for one in found)
        origins = self._folder.origins(view.text)
        return tuple(replace(one, start=origins.of(one.start), end=origins.of(one.end - 1) + 1) for one in found)

    def _judge(self, seen: list[Seen], settings: Settings) -> Verdict:
        worst = max(seen, key=lambda one: one.confidence)
        confidence = worst.confidence / 1000
        malicious = confidence >= settings.confidence_threshold
        findings = tuple(finding for one in seen for finding in one.findings)[:MOST_FINDINGS]
        types = _threats(worst, malicious)
        telling = self.model.telling(worst.window, MOST_TELLING)
        return Verdict(malicious, confidence, types, findings, reason(malicious, worst.view.via, findings, telling))


def evidence(findings: tuple[Finding, ...]) -> int:
    """What rules count together: the strongest, one more for a second clear one, and one for a third. 0 to 5."""
    if not findings:
        return 0
    clear = len({finding.rule for finding in findings if finding.strength > 1})
    return min(MOST_EVIDENCE, max(finding.strength for finding in findings) + min(2, max(0, clear - 1)))


def _threats(worst: Seen, malicious: bool) -> tuple[str, ...]:
    """The threats of what made the verdict; an attack that only the model knows is called an injection."""
    if not malicious:
        return ()
    clear = {finding.threat for finding in worst.findings if finding.strength > 1}
    named = clear or {finding.threat for finding in worst.findings} or {INJECTION}
    if worst.view.via:
        named.add(ENCODING)
    return tuple(threat for threat in THREATS if threat in named)
