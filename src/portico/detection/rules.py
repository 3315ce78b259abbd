"""The rules: which concepts, how near to one another, tell of which threat.

A rule names concepts of the lexicon, never a phrase, so that it fits every language and every wording. How they are
looked for stands in matching.py. `span` is the distance between the first and the last word; the end of a sentence
counts as four words.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from portico.detection.verdict import DELIMITER, ENCODING, EXTRACTION, INJECTION, JAILBREAK, LEAK


@dataclass(frozen=True, slots=True)
class Rule:
    """`needs` in this order when `ordered`, else in any. `strength`: see `Finding`."""

    id: str
    threat: str
    strength: int
    needs: tuple[str, ...]
    span: int
    ordered: bool = True


RULES: Final = (
    # What was said before is to count no longer.
    Rule("ignore-previous-instructions", INJECTION, 3, ("IGNORE", "PREVIOUS", "INSTRUCTION"), 7),
    Rule("ignore-instructions-above", INJECTION, 3, ("IGNORE", "INSTRUCTION", "PREVIOUS"), 7),
    Rule("previous-instructions-ignored", INJECTION, 2, ("PREVIOUS", "INSTRUCTION", "IGNORE"), 8),
    Rule("ignore-all-instructions", INJECTION, 2, ("IGNORE", "ALL", "INSTRUCTION"), 6),
    Rule("ignore-your-instructions", INJECTION, 2, ("IGNORE", "YOUR", "INSTRUCTION"), 4),
    Rule("ignore-everything-before", INJECTION, 2, ("IGNORE", "EVERYTHING", "PREVIOUS"), 5),
    Rule("ignore-what-you-were-told", INJECTION, 2, ("IGNORE", "YOU", "TOLD"), 7),
    Rule("ignore-the-context", INJECTION, 2, ("IGNORE", "CONTEXT", "SAY"), 10),
    Rule("ignore-everything", INJECTION, 1, ("IGNORE", "EVERYTHING"), 2),
    Rule("new-task-follows", INJECTION, 1, ("NEW", "TASK"), 2),
    Rule("ignore-then-new-task", INJECTION, 3, ("IGNORE", "INSTRUCTION", "NEW", "TASK"), 18),
    Rule("ignore-then-say", INJECTION, 2, ("IGNORE", "ALL", "ONLY", "SAY"), 14, ordered=False),
    Rule("instead-say", INJECTION, 1, ("INSTEAD", "SAY"), 3, ordered=False),
    Rule("instructions-are-over", INJECTION, 2, ("PREVIOUS", "INSTRUCTION", "END"), 6),
    Rule("your-new-task-is", INJECTION, 2, ("YOUR", "NEW", "TASK"), 3),
    Rule("ignore-instructions-then-say", INJECTION, 2, ("IGNORE", "INSTRUCTION", "SAY"), 16),
    Rule("ignore-above-then-say", INJECTION, 2, ("IGNORE", "PREVIOUS", "SAY"), 12),
    Rule("what-came-before-is-void", INJECTION, 2, ("PREVIOUS", "INFORMATION", "VOID"), 10),
    Rule("instructions-are-void", INJECTION, 2, ("INSTRUCTION", "VOID", "NEW"), 12),
    Rule("your-instructions-are-void", INJECTION, 2, ("YOUR", "INSTRUCTION", "VOID"), 6),
    Rule("do-not-answer-but-say", INJECTION, 2, ("NEVER", "SAY", "QUESTION", "ONLY"), 10),
    Rule("new-instructions-for-the-model", INJECTION, 2, ("NEW", "TASK", "AI"), 7, ordered=False),
    Rule("note-to-models", INJECTION, 1, ("AI", "MUST", "IGNORE"), 14, ordered=False),
    Rule("say-nothing-but", INJECTION, 1, ("ONLY", "SAY"), 2, ordered=False),
    # The model is to be someone who may do anything.
    Rule("free-persona", JAILBREAK, 3, ("PRETEND", "AI", "RESTRICTION", "FREE"), 25, ordered=False),
    Rule("persona-without-limits", JAILBREAK, 3, ("PRETEND", "WITHOUT", "RESTRICTION"), 14),
    Rule("you-are-without-limits", JAILBREAK, 2, ("YOU", "WITHOUT", "RESTRICTION"), 7),
    Rule("you-are-free-of-rules", JAILBREAK, 3, ("YOU", "FREE", "RESTRICTION"), 9),
    Rule("ai-without-limits", JAILBREAK, 2, ("AI", "WITHOUT", "RESTRICTION"), 8),
    Rule("free-ai", JAILBREAK, 2, ("FREE", "AI"), 3),
    Rule("from-now-on-you-are", JAILBREAK, 2, ("FROM", "NOW", "YOU", "PRETEND"), 9),
    Rule("you-are-now", JAILBREAK, 1, ("YOU", "ARE", "NOW"), 3, ordered=False),
    Rule("now-in-a-mode", JAILBREAK, 3, ("YOU", "ARE", "MODENAME", "MODE"), 8),
    Rule("switch-on-a-mode", JAILBREAK, 2, ("MODENAME", "MODE", "YOU"), 8, ordered=False),
    Rule("ignore-your-limits", JAILBREAK, 2, ("IGNORE", "YOUR", "RESTRICTION"), 6),
    Rule("never-refuse", JAILBREAK, 2, ("YOU", "NEVER", "REFUSE"), 7),
    Rule("never-refuse-and-comply", JAILBREAK, 2, ("NEVER", "REFUSE", "COMPLY"), 14, ordered=False),
    Rule("known-name", JAILBREAK, 2, ("DAN", "YOU"), 5, ordered=False),
    Rule("known-name-ai", JAILBREAK, 2, ("PRETEND", "DAN"), 5),
    Rule("stay-in-character", JAILBREAK, 2, ("STAY", "ROLE", "RESTRICTION"), 25, ordered=False),
    Rule("play-a-role", JAILBREAK, 1, ("YOU", "PRETEND", "ROLE"), 7),
    Rule("act-evil", JAILBREAK, 2, ("YOU", "EVIL", "AI"), 7),
    Rule("safety-switched-off", JAILBREAK, 2, ("SUSPEND", "SAFETY"), 5, ordered=False),
    Rule("safety-of-you-switched-off", JAILBREAK, 2, ("YOUR", "SAFETY", "SUSPEND"), 8),
    Rule("two-answers-one-free", JAILBREAK, 2, ("SAY", "FREE", "RESTRICTION"), 14, ordered=False),
    Rule("fiction-without-limits", JAILBREAK, 2, ("TRICK", "AI", "WITHOUT", "RESTRICTION"), 20, ordered=False),
    # What the model was told is to come out.
    Rule("reveal-your-prompt", LEAK, 3, ("REVEAL", "YOUR", "SYSTEM", "PROMPT"), 6),
    Rule("reveal-system-prompt", LEAK, 2, ("REVEAL", "SYSTEM", "PROMPT"), 5),
    Rule("reveal-your-instructions", LEAK, 2, ("REVEAL", "YOUR", "PROMPT"), 4),
    Rule("your-system-prompt", LEAK, 2, ("YOUR", "SYSTEM", "PROMPT"), 3),
    Rule("repeat-what-is-above", LEAK, 2, ("REVEAL", "TEXT", "PREVIOUS"), 6, ordered=False),
    Rule("repeat-the-beginning", LEAK, 2, ("REVEAL", "YOU", "TOLD", "BEGINNING"), 14, ordered=False),
    Rule("what-you-were-told", LEAK, 2, ("YOU", "TOLD", "PREVIOUS"), 6),
    Rule("instructions-you-were-given", LEAK, 2, ("REVEAL", "PROMPT", "YOU", "TOLD"), 7),
    Rule("what-stands-above", LEAK, 2, ("WRITTEN", "BEGINNING", "PROMPT"), 7, ordered=False),
    Rule("what-the-operator-said", LEAK, 2, ("REVEAL", "OPERATOR", "WRITTEN"), 10, ordered=False),
    Rule("what-you-were-given", LEAK, 2, ("PROMPT", "YOU", "TOLD"), 6, ordered=False),
    Rule("verbatim", LEAK, 2, ("REVEAL", "PROMPT", "VERBATIM"), 8, ordered=False),
    # What belongs to others is to come out, or to go elsewhere.
    Rule("reveal-credentials", EXTRACTION, 2, ("REVEAL", "YOUR", "CREDENTIAL"), 6),
    Rule("reveal-all-credentials", EXTRACTION, 2, ("REVEAL", "ALL", "CREDENTIAL"), 6),
    Rule("send-data-to-address", EXTRACTION, 2, ("SEND", "DATA", "ADDRESS"), 12, ordered=False),
    Rule("send-credentials", EXTRACTION, 2, ("SEND", "CREDENTIAL", "ADDRESS"), 12, ordered=False),
    Rule("credentials-you-hold", EXTRACTION, 2, ("CREDENTIAL", "YOU", "TOLD"), 8, ordered=False),
    Rule("others-payment", EXTRACTION, 2, ("REVEAL", "MARKED", "PREVIOUS"), 9),
    Rule("reveal-all-records", EXTRACTION, 1, ("REVEAL", "ALL", "RECORDS"), 5),
    Rule("reveal-records-you-hold", EXTRACTION, 2, ("REVEAL", "ALL", "RECORDS", "YOU"), 12),
    Rule("others-conversations", EXTRACTION, 2, ("REVEAL", "OTHERS", "RECORDS", "DATA"), 9, ordered=False),
    Rule("secretly-send", EXTRACTION, 2, ("SILENTLY", "SEND", "DATA"), 14, ordered=False),
    # Something encoded is to be decoded and obeyed.
    Rule("decode-and-obey", ENCODING, 2, ("DECODE", "CIPHER", "EXECUTE"), 14, ordered=False),
    Rule("decode-this-and-obey", ENCODING, 2, ("DECODE", "EXECUTE"), 6),
    Rule("answer-in-cipher", ENCODING, 1, ("SAY", "CIPHER"), 4, ordered=False),
    # The text claims to have ended, and another voice to speak.
    Rule("context-ends", DELIMITER, 1, ("END", "CONTEXT"), 2, ordered=False),
)
