"""Says in a sentence or two what was found, and where."""

from __future__ import annotations

from typing import Final

from portico.detection.verdict import Finding

MOST_NAMED: Final = 4


def reason(malicious: bool, via: tuple[str, ...], findings: tuple[Finding, ...], telling: list[str]) -> str:
    """Why the verdict is as it is. Quotes nothing but single words and pairs of the text."""
    parts = [_rules(findings), _wording(malicious, telling)]
    if malicious and via:
        parts.insert(0, f"The attack was hidden by {', then '.join(via)}.")
    said = " ".join(part for part in parts if part)
    return said or "Nothing in it is like an attack."


def _rules(findings: tuple[Finding, ...]) -> str:
    if not findings:
        return ""
    strongest = sorted(findings, key=lambda finding: (-finding.strength, finding.start, finding.rule))
    named = "; ".join(_place(finding) for finding in strongest[:MOST_NAMED])
    more = len(findings) - MOST_NAMED
    return f"Found {named}{f'; and {more} more' if more > 0 else ''}."


def _place(finding: Finding) -> str:
    via = f", decoded from {' in '.join(reversed(finding.via))}" if finding.via else ""
    return f"{finding.rule} ({finding.threat}) at characters {finding.start}–{finding.end}{via}"


def _wording(malicious: bool, telling: list[str]) -> str:
    if not malicious or not telling:
        return ""
    return f"The wording is like that of known attacks: {', '.join(repr(unit) for unit in telling)}."
