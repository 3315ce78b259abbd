"""Who judges texts, and what becomes of those that nobody could judge."""

from __future__ import annotations

from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Engine:
    """A remote detector: `url` is where a text is posted, `timeout` seconds for it, with all of its `retries`."""

    name: str
    url: str
    timeout: float = 2.0
    headers: dict[str, str] = field(default_factory=dict, repr=False)  # may hold its key; the edge is not told
    retries: int = 1
    concurrency: int = 64


@dataclass(frozen=True, slots=True)
class AnswerCache:
    """Answers of detection that are given again for `ttl` seconds; 0: never."""

    ttl: float = 300.0


@dataclass(frozen=True, slots=True)
class Reviews:
    """Texts that wait for a person, `keep` seconds, `most` of a tenant. `text` is keep, mask or drop (once decided)."""

    keep: float = 90 * 86400.0
    text: str = "keep"
    most: int = 10_000


@dataclass(frozen=True, slots=True)
class Detection:
    """Who judges texts: `engines` in order of preference, else the embedded detector.

    `on_engine_timeout` is flag, embedded, allow or block.
    """

    engines: tuple[Engine, ...] = ()
    on_engine_timeout: str = "flag"
    cache: AnswerCache = AnswerCache()
    reviews: Reviews = Reviews()
