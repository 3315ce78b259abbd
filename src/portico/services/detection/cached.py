"""Answers that are given again: a judge before another judge.

What is kept lies under an HMAC of everything that the answer depends on, the tenant too, and is sealed by the vault:
whoever reads the shared state learns neither texts nor answers, and can't put one answer in another's place.
"""

from __future__ import annotations

import hmac
import json
import time
from collections.abc import Awaitable, Callable, Iterable
from dataclasses import astuple, dataclass, fields, replace
from typing import TYPE_CHECKING, Final

from portico import __version__
from portico.detection import Finding
from portico.errors import VaultError
from portico.services.detection.judging import Judge, Judged, Question
from portico.services.detection.recent import Recent
from portico.state.cache import Codec, Kind

if TYPE_CHECKING:
    from portico.state.cache import Cache
    from portico.storage.vault import Vault
    from portico.telemetry.counts import Counts

KIND: Final = "detection"
METRIC: Final = "detection_cache"
OUTCOMES: Final = ("hit", "miss", "joined", "bypassed")
BYPASS: Final = frozenset(["no-cache", "no-store"])
PLAIN: Final = tuple(each.name for each in fields(Judged) if each.name not in ("findings", "cache_hit"))
Version = Callable[[], Awaitable[str]]


def bypasses(fields: Iterable[str]) -> bool:
    """Whether a request with these values of Cache-Control (RFC 9111 5.2.1) wants nothing of a cache."""
    return any(part.partition("=")[0].strip().lower() in BYPASS for field in fields for part in field.split(","))


@dataclass(frozen=True, slots=True)
class Held:
    """An answer, the key under which it was kept, and when it was made, in seconds since 1970."""

    key: str
    judged: Judged
    made: float


class _Unkept(Exception):
    """Ends a computation whose answer goes to those who wait for it, and to nobody later."""

    def __init__(self, judged: Judged) -> None:
        super().__init__("the answer is not for keeping")
        self.judged = judged


class CachedJudge:
    """Gives an answer of `inner` again for `ttl` seconds, to the same tenant for the same text and threshold.

    The last answers are also in `recent`, which the store's absence does not touch.
    `version` names everything else that the answer depends on. Those who ask the same at the same time wait for one
    answer, and get the error if there is none. A degraded answer is given to them and not kept.
    """

    def __init__(
        self,
        inner: Judge,
        version: Version,
        cache: Cache,
        ttl: float,
        vault: Vault,
        counts: Counts,
        recent: Recent | None = None,
    ) -> None:
        self._inner = inner
        self._version = version
        self._vault = vault
        self._key = vault.key("detection")
        self._counts = counts
        self._ttl = ttl
        self._recent = recent or Recent()
        self._kind: Kind[Held] = cache.kind(KIND, ttl, codec=Codec(self._seal, self._unseal))

    async def judge(self, question: Question) -> Judged:
        """The answer; `cache_hit` when it was there already."""
        if question.fresh:
            self._count("bypassed")
            return await self._inner.judge(question)
        key = self._name(question, await self._version())
        judged = self._recent.find(key)
        if judged is not None:
            self._count("hit")
            return judged
        return await self._looked_up(question, key)

    async def _looked_up(self, question: Question, key: str) -> Judged:
        asked = False

        async def ask() -> Held:
            nonlocal asked
            asked = True
            judged = await self._inner.judge(question)
            if judged.degraded:
                raise _Unkept(judged)
            return Held(key, judged, time.time())

        try:
            held = await self._kind.get_or_compute(key, ask)
        except _Unkept as unkept:
            self._count("miss" if asked else "joined")
            return unkept.judged
        if held.key != key:  # sealed here, and put in this place by somebody else
            self._count("miss")
            return await self._inner.judge(question)
        self._count("hit" if held.judged.cache_hit else "miss" if asked else "joined")
        self._recent.keep(key, replace(held.judged, cache_hit=True), held.made + self._ttl)
        return held.judged

    def _count(self, outcome: str) -> None:
        self._counts.add(METRIC, (outcome,))

    def _name(self, question: Question, version: str) -> str:
        """Where the answer is kept. The threshold is a part: it decides which threats and what reason are told."""
        about = [__version__, version, question.tenant, repr(question.threshold), question.text]
        told = "answer" + "".join([f"\0{len(each)}:{each}" for each in about])  # read in one way only
        return hmac.digest(self._key, told.encode("utf-8", "surrogatepass"), "sha256").hex()

    def _seal(self, held: Held) -> bytes:
        judged = {name: getattr(held.judged, name) for name in PLAIN}
        judged["findings"] = [astuple(each) for each in held.judged.findings]
        whole = [held.key, judged, held.made]
        return self._vault.seal(json.dumps(whole, separators=(",", ":")).encode(), KIND)

    def _unseal(self, sealed: bytes) -> Held:
        """ValueError for what was not sealed here by this version."""
        try:
            key, judged, made = json.loads(self._vault.unseal(sealed, KIND))
            findings = tuple(
                Finding(rule, threat, start, end, strength, tuple(via))
                for rule, threat, start, end, strength, via in judged.pop("findings")
            )
            threats = tuple(judged.pop("threat_types"))
            return Held(key, Judged(**judged, threat_types=threats, findings=findings, cache_hit=True), made)
        except (VaultError, TypeError, KeyError) as error:
            raise ValueError("it is no answer of ours") from error
