"""`detection`: who judges texts, and what happens when nobody can in time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Final

from pydantic import Field

from portico import contracts
from portico.config.base import Named, Several, Strict
from portico.config.scalars import Duration, Name, PositiveDuration, Text, choice, integer, pattern, service
from portico.config.substitute import Finding
from portico.config.tracing import FIELD

PATH: Final = "/v1/detect"  # below an engine's address
EMBEDDED: Final = "embedded"
DAY: Final = 86400.0  # seconds
LONGEST: Final = 25.0  # seconds for all engines together: the edge waits for 30
OURS: Final = frozenset(  # fields that belong to the call itself
    ["host", "connection", "content-length", "content-type", "transfer-encoding", "te", "trailer", "upgrade", "expect",
     "accept-encoding", "traceparent"]
)  # fmt: skip


class Engine(Strict):
    """A detector of your own, or of someone else: what answers POST URL/v1/detect."""

    name: Name = Field(description="Its name in answers, metrics and logs")
    url: Annotated[str, service("an engine's address such as http://engine:9000")] = Field(
        description="Its address; /v1/detect is added unless it ends so"
    )
    timeout: PositiveDuration = Field(
        default=2.0,
        description="Longest time for a text, its retries included",
        json_schema_extra={"default": "2s"},
    )
    headers: Named[Annotated[str, pattern(FIELD, "the name of a header field")], Text] = Field(
        default_factory=dict, description="Header fields for the engine, such as its key"
    )
    retries: Annotated[int, integer(0, 5)] = Field(
        default=1, description="Tries after the first, where a connection broke or the engine answered 502, 503 or 504"
    )
    concurrency: Annotated[int, integer(1, 1000)] = Field(
        default=64, description="Texts at a time, of each process of the services"
    )

    def check(self) -> Iterator[Finding]:
        if self.name == EMBEDDED:
            yield ("name",), "is the embedded detector's, which stands in for engines"
        for name, value in self.headers.items():
            if name.lower() in OURS:
                yield ("headers", name), "is set by Portico"
            elif not value.isascii() or value != value.strip():
                yield ("headers", name), "must be ASCII text without space around it"

    def plain(self) -> contracts.Engine:
        """With the whole address."""
        address = self.url.rstrip("/")
        url = address if address.endswith(PATH) else address + PATH
        return contracts.Engine(self.name, url, self.timeout, dict(self.headers), self.retries, self.concurrency)


class AnswerCache(Strict):
    """Answers that are given again while they are young."""

    ttl: Duration = Field(
        default=300.0,
        description="How long an answer is given again for the same text; 0s: never",
        json_schema_extra={"default": "5m"},
    )

    def check(self) -> Iterator[Finding]:
        if self.ttl > DAY:
            yield ("ttl",), "must be at most 1d"

    def plain(self) -> contracts.AnswerCache:
        return contracts.AnswerCache(self.ttl)


class Reviews(Strict):
    """Texts that wait for a person: what is kept of them, for how long, how many."""

    keep: PositiveDuration = Field(
        default=90 * DAY,
        description="How long a text is kept after it came, decided or not",
        json_schema_extra={"default": "90d"},
    )
    text: Annotated[str, choice("keep", "mask", "drop")] = Field(
        default="keep",
        description="keep: as it came; mask: addresses, numbers and keys in it are masked before it is kept; "
        "drop: as it came until somebody decides, then no more",
    )
    most: Annotated[int, integer(0, 1_000_000)] = Field(
        default=10_000, description="How many texts of a tenant may wait; 0: none is kept"
    )

    def plain(self) -> contracts.Reviews:
        return contracts.Reviews(self.keep, self.text, self.most)


class Detection(Strict):
    """Prompt-injection detection. Without engines the embedded detector judges."""

    engines: Several[Engine] = Field(default_factory=list, description="Who judges, in order of preference")
    on_engine_timeout: Annotated[str, choice("flag", "embedded", "allow", "block")] = Field(
        default="flag",
        description="What a text is answered when no engine judged it in time: flag (not malicious, for review), "
        "embedded (what the embedded detector says), allow (not malicious), block (malicious)",
    )
    cache: AnswerCache = Field(default_factory=AnswerCache, description="Answers that are given again")
    reviews: Reviews = Field(default_factory=Reviews, description="Texts that wait for a person")

    def check(self) -> Iterator[Finding]:
        names: dict[str, int] = {}
        for index, engine in enumerate(self.engines):
            if names.setdefault(engine.name, index) != index:
                yield ("engines", index, "name"), f"is that of engines[{names[engine.name]}]; each must be its own"
        if sum(engine.timeout for engine in self.engines) > LONGEST:
            yield ("engines",), f"may have {LONGEST:g}s of timeouts together: one may be asked after the other"

    def plain(self) -> contracts.Detection:
        return contracts.Detection(
            engines=tuple(engine.plain() for engine in self.engines),
            on_engine_timeout=self.on_engine_timeout,
            cache=self.cache.plain(),
            reviews=self.reviews.plain(),
        )
