"""One engine: its connections, its breaker, and the probes that bring it back."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Final

from portico import contracts
from portico.errors import (
    AddressRefused,
    ConnectTimeout,
    EngineFailed,
    OutboundBusy,
    OutboundError,
    OutboundMalformed,
    OutboundTimeout,
    OutboundTooLarge,
)
from portico.kernel.plugin import Health
from portico.outbound import Answer, Bounds, Client, Guard
from portico.outbound.meter import Meter
from portico.services.detection.engines import wire
from portico.services.detection.engines.breaker import Breaker, Budget
from portico.services.detection.engines.wire import Verdict
from portico.telemetry import logs
from portico.telemetry.counts import Counts

PURPOSE: Final = "engine"
LARGEST: Final = 64 * 1024  # bytes of an answer
CONNECT: Final = 1.0  # seconds; an engine is near
WAITING: Final = 4  # texts that wait for their turn, for each that has it
AGAIN: Final = frozenset([502, 503, 504])
ABOUT_THE_TEXT: Final = frozenset([400, 413, 422])
PAUSE: Final = 0.05  # seconds at most before a call is made again
PROBE: Final = "Is anybody there?"
FIRST_PROBE: Final = 1.0  # seconds after the breaker has opened; then twice as long each time, up to
LAST_PROBE: Final = 5.0
PARTING: Final = 5.0  # seconds for calls in flight when the plugin stops
WORDS: Final[dict[type[OutboundError], tuple[str, str]]] = {  # what failed: for metrics, for people
    AddressRefused: ("refused", "its address may not be called: see `outbound`"),
    ConnectTimeout: ("unreachable", "there was no connection in time"),
    OutboundBusy: ("busy", "too many texts wait for it"),
    OutboundMalformed: (wire.NONSENSE, "its answer is no proper HTTP, or breaks off"),
    OutboundTooLarge: ("too_large", "its answer is too large"),
}


class Engine:
    """Asks one engine. `changed` is called when it is left alone, and when it is back."""

    def __init__(
        self, spec: contracts.Engine, guard: Guard, proxy: str, counts: Counts, changed: Callable[[], None]
    ) -> None:
        self.name = spec.name
        self._spec = spec
        self._counts = counts
        self._changed = changed
        self._headers = {"Content-Type": "application/json", **spec.headers}
        bounds = Bounds(
            spec.timeout,
            min(CONNECT, spec.timeout),
            body=LARGEST,
            calls=spec.concurrency,
            per_host=spec.concurrency,
            waiting=spec.concurrency * WAITING,
        )
        self._client = Client(guard, bounds, proxy=proxy, meter=Meter(counts), traced=True)
        self._breaker = Breaker()
        self._budget = Budget()
        self._calls = 0
        self._idle = asyncio.Event()
        self._probing: asyncio.Task[None] | None = None
        self._stopping = False
        self._latency: float | None = None
        self._last_error = ""

    @property
    def ejected(self) -> bool:
        """Whether it is left alone."""
        return self._breaker.open

    async def start(self) -> None:
        """Make ready; opens no connection yet."""
        await self._client.start()

    async def stop(self) -> None:
        """Let calls in flight end, for some seconds; then close every connection."""
        self._stopping = True
        probing, self._probing = self._probing, None
        if probing is not None:
            probing.cancel()
            await asyncio.wait({probing})
        self._idle.clear()
        if self._calls:
            with suppress(TimeoutError):
                async with asyncio.timeout(PARTING):
                    await self._idle.wait()
        await self._client.stop()

    async def judge(self, text: str, threshold: float) -> Verdict:
        """What it says; EngineFailed when it says nothing within its timeout, retries included, or nothing sensible."""
        began = time.monotonic()
        self._calls += 1
        self._budget.earn()
        word = "cancelled"
        try:
            verdict = await self._tried(wire.ask(text, threshold), began + self._spec.timeout)
            word = "ok"
            self._latency = time.monotonic() - began
            self._breaker.succeeded()
        except EngineFailed as error:
            word = error.word
            self._failed(error)
            raise
        finally:
            self._counts.add("detection_engine_calls", (self.name, word))
            self._counts.observe("detection_engine_seconds", self.name, time.monotonic() - began)
            self._calls -= 1
            if not self._calls:
                self._idle.set()
        return verdict

    def health(self) -> Health:
        """How it is, without asking it."""
        if self.ejected:
            return Health(False, f"left alone, and probed: {self._last_error}", self._latency, self._last_error)
        detail = "" if self._latency is None else f"answered in {self._latency * 1000:.1f} ms"
        return Health(True, detail or "not asked yet", self._latency, self._last_error)

    async def _tried(self, body: bytes, deadline: float) -> Verdict:
        """The call, and again where that is of use and there is time."""
        for left in range(self._spec.retries, -1, -1):
            try:
                return wire.read((await self._once(body, deadline - time.monotonic())).body)
            except EngineFailed as error:
                pause = random.uniform(0, PAUSE)
                in_time = time.monotonic() + pause < deadline
                if not (left and error.again and in_time and self._budget.take()):
                    raise
            await asyncio.sleep(pause)
        raise AssertionError("the last try returns or raises")

    async def _once(self, body: bytes, seconds: float) -> Answer:
        try:
            answer = await self._client.request(
                "POST",
                self._spec.url,
                headers=self._headers,
                body=body,
                bounds=Bounds(seconds, body=LARGEST),
                purpose=PURPOSE,
            )
        except ConnectTimeout as error:
            raise _failure(error) from None
        except OutboundTimeout:
            raise EngineFailed("timeout", f"no answer within {self._spec.timeout:g} s", late=True) from None
        except OutboundError as error:
            raise _failure(error) from None
        if answer.status != 200:
            message = f"it answered {answer.status}"
            blamed = answer.status not in ABOUT_THE_TEXT
            raise EngineFailed("status", message, again=answer.status in AGAIN, blamed=blamed)
        return answer

    def _failed(self, error: EngineFailed) -> None:
        self._last_error = str(error)
        if error.blamed and not self._stopping and self._breaker.failed():
            logs.get("portico.detection").warning("an engine is left alone", engine=self.name, cause=str(error))
            self._probing = asyncio.create_task(self._probe())
            self._changed()

    async def _probe(self) -> None:
        """Ask it now and then, with a text of our own, until it answers as it should."""
        body, wait = wire.ask(PROBE, 0.5), FIRST_PROBE
        while True:
            await asyncio.sleep(wait * random.uniform(0.9, 1.1))
            wait = min(2 * wait, LAST_PROBE)
            began = time.monotonic()
            try:
                wire.read((await self._once(body, self._spec.timeout)).body)
            except EngineFailed as error:
                self._last_error = str(error)
                continue
            self._latency = time.monotonic() - began
            self._breaker.close()
            logs.get("portico.detection").info("an engine answers again", engine=self.name)
            self._changed()
            return


def _failure(error: OutboundError) -> EngineFailed:
    word, message = WORDS.get(type(error), ("unreachable", "no connection could be made, or it broke"))
    return EngineFailed(word, message, again=type(error) not in WORDS, blamed=not isinstance(error, OutboundBusy))
