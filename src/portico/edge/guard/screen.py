"""Stands between a target and its client, and lets an answer through as far as it has been judged.

A JSON or text answer is held until its end, and judged once. Events of a stream are judged in pieces as they come: at
once where there is time, else what has come in PACE seconds or in STEP bytes together. Where the guard blocks, a
piece goes out when it has been judged; where it flags, at once, and the verdict comes at the end.
"""

from __future__ import annotations

import asyncio
import time
from typing import Final

from portico.edge.answering import Answering
from portico.edge.exchange import NO_BODY, UNKNOWN_LENGTH, Downstream, Exchange, Response
from portico.edge.guard import refusals
from portico.edge.guard.asking import EVENTS, RESPONSE, Asker, Told, form_of
from portico.edge.guard.guarded import UNAVAILABLE, UNSCANNED, Guarded
from portico.errors import ServicesAway
from portico.telemetry import logs

PASS: Final = 0  # what comes goes on
WHOLE: Final = 1
STREAM: Final = 2
REFUSE: Final = 3  # as soon as the target has said all about its head

PACE: Final = 0.25  # seconds
STEP: Final = 16 * 1024
AHEAD: Final = 64 * 1024  # bytes that may wait for a verdict; then the upstream is not read
LINE: Final = b"\r\nX-Portico-Guard: "
COMMENT: Final = b"\n\n: X-Portico-Guard: "
ENDS: Final = (b"\n\n", b"\r\n\r\n", b"\r\r", b"\n\r")  # of an event, whose lines may end differently


class Screen(Downstream):
    """The client's side of one exchange. `blocks`: what is malicious goes no further; `fails_open`: what can't be
    judged does; `most`: bytes of an answer, or of one event, that are held."""

    def __init__(
        self, inner: Downstream, guarded: Guarded, asker: Asker, blocks: bool, fails_open: bool, most: int
    ) -> None:
        self.inner = inner
        self.guarded = guarded
        self.asker = asker
        self.blocks = blocks
        self.fails_open = fails_open
        self.most = most
        self.mode = PASS
        self.form = ""
        self.refusal: Response | None = None
        self.status = 0
        self.reason = b""
        self.fields = b""
        self.length = 0
        self.parts: list[bytes] = []
        self.fresh = b""  # events that nobody has been asked about
        self.asked = b""  # those that are being judged
        self.asking = False
        self.carry: dict[str, str] = {}
        self.worst: Told | None = None
        self.next = 0.0  # monotonic: when there is time for the next piece
        self.ended = False  # the target has sent all
        self.paused = False
        self.settled = False  # the rest of a stream passes without being judged; `tail` is told at its end
        self.tail = b""

    # -- the target's side

    def respond(self, exchange: Exchange, status: int, reason: bytes, fields: bytes, length: int) -> None:
        self.status = status
        self.reason = reason
        self.fields = fields
        self.length = length
        if length == NO_BODY or length == 0:
            self.inner.respond(exchange, status, reason, fields, length)
            return
        self.form = form_of(value_of(fields, b"content-type"), value_of(fields, b"content-encoding"))
        if not self.form:
            self._unfit(exchange, UNSCANNED, refusals.UNSCANNED)
        elif self.form == EVENTS:
            self.mode = STREAM
            if not self.blocks:
                self._open(exchange)
        elif length > self.most:
            self._unfit(exchange, UNSCANNED, refusals.LARGE)
        else:
            self.mode = WHOLE

    def send(self, exchange: Exchange, chunk: bytes) -> None:
        if exchange.finished:
            return
        if self.mode == REFUSE:
            self._refuse(exchange)
        elif self.mode == WHOLE:
            self.parts.append(chunk)
            self.guarded.held += len(chunk)
            if self.guarded.held > self.most:
                self._unfit(exchange, UNSCANNED, refusals.LARGE)
                if self.mode == REFUSE:
                    self._refuse(exchange)
        else:
            if self.mode == PASS or not self.blocks:
                self.inner.send(exchange, chunk)
            if self.mode == STREAM and not self.settled:
                self.fresh += chunk
                self.guarded.held = len(self.fresh) + len(self.asked)

    def flush(self, exchange: Exchange) -> None:
        if exchange.finished:
            return
        if self.mode == REFUSE:
            self._refuse(exchange)
        elif self.mode == PASS:
            self.inner.flush(exchange)
        elif self.mode == STREAM:
            if not self.blocks:
                self.inner.flush(exchange)
            self._look(exchange)
            self._hold_back(exchange)

    def done(self, exchange: Exchange) -> None:
        if exchange.finished:
            return
        self.ended = True
        if self.mode == REFUSE:
            self._refuse(exchange)
        elif self.mode == PASS:
            self.inner.done(exchange)
        else:
            exchange.deadline = 0.0  # the upstream has done its part
            if self.mode == STREAM:
                self._look(exchange)
            elif not self.parts:
                self._release(exchange)
                self.inner.done(exchange)
            else:
                self.asked = b"".join(self.parts)
                self.parts = [self.asked]
                self._ask(exchange)

    def abort(self, exchange: Exchange) -> None:
        if exchange.finished:
            return
        self.guarded.stop()
        self.mode = PASS
        if exchange.responding:
            self.inner.abort(exchange)
        else:
            detail = "the upstream broke off inside its answer"
            hint = "try again; if it lasts, the operator should look at the upstream"
            self.inner.answer(exchange, exchange.problem(502, exchange.code, detail, hint))

    def answer(self, exchange: Exchange, response: Response) -> None:
        self.guarded.stop()
        self.inner.answer(exchange, response)

    def upgrade(self, exchange: Exchange, reason: bytes, fields: bytes) -> None:
        self.inner.upgrade(exchange, reason, fields)

    def inform(self, exchange: Exchange, status: int, reason: bytes, fields: bytes) -> None:
        self.inner.inform(exchange, status, reason, fields)

    def cut(self, exchange: Exchange) -> None:
        self.inner.cut(exchange)

    def gather(self, exchange: Exchange, most: int) -> asyncio.Future[bool]:
        return self.inner.gather(exchange, most)

    def pause(self) -> None:
        self.inner.pause()

    def resume(self) -> None:
        self.inner.resume()

    # -- asking

    def _look(self, exchange: Exchange) -> None:
        """Have judged what has come of a stream, if it is time."""
        if self.asking or (self.settled and not self.ended):
            return
        cut = end_of_events(self.fresh)
        if len(self.fresh) - cut > self.most:
            self._failed(exchange, UNSCANNED, refusals.answer_unreadable(exchange, refusals.LARGE))
            return
        if self.ended:
            cut = len(self.fresh)
        if cut == 0:
            if self.ended:
                self._finish(exchange)
            return
        now = time.monotonic()
        if now < self.next and cut < STEP and not self.ended:
            if self.guarded.later is None:
                loop = asyncio.get_running_loop()
                self.guarded.later = loop.call_later(self.next - now, self._due, exchange)
            return
        self.next = now + PACE
        self.asked = self.fresh[:cut]
        self.fresh = self.fresh[cut:]
        self._ask(exchange)

    def _due(self, exchange: Exchange) -> None:
        self.guarded.later = None
        self.next = 0.0
        if not exchange.finished and self.mode == STREAM:
            self._look(exchange)

    def _ask(self, exchange: Exchange) -> None:
        self.asking = True
        self.guarded.work = asyncio.ensure_future(self._asked(exchange))

    async def _asked(self, exchange: Exchange) -> None:
        told: Told | None = None
        try:
            told = await self.asker.ask(exchange, RESPONSE, self.form, self.asked, self.carry)
        except ServicesAway:
            told = None
        except Exception as error:  # nobody else would end the exchange
            logs.get("portico.edge").error("a guard failed", exc_info=error, request_id=exchange.request_id.decode())
        if exchange.finished:
            return
        self.asking = False
        self.guarded.work = None  # what follows may end the exchange, but not this
        if told is None:
            self._failed(exchange, UNAVAILABLE, refusals.unavailable(exchange))
        elif told.unreadable:
            why = f"can't be read: {told.unreadable}"
            self._failed(exchange, UNSCANNED, refusals.answer_unreadable(exchange, why))
        else:
            self._told(exchange, told)

    def _told(self, exchange: Exchange, told: Told) -> None:
        self.carry = told.carry
        worst = self.worst
        if worst is None or (worst.empty and not told.empty) or told.confidence > worst.confidence:
            self.worst = worst = told
        self.guarded.response = worst.verdict()
        self.guarded.of_response = worst.judged()
        if told.malicious and self.blocks:
            self._end(exchange, refusals.answer_blocked(exchange, told))
        elif self.mode == WHOLE:
            exchange.response_fields += LINE + worst.value()
            self._release(exchange)
            self.inner.done(exchange)
        else:
            if self.blocks:
                self._open(exchange)
                self.inner.send(exchange, self.asked)
                self.inner.flush(exchange)
            else:
                self.tail = worst.value()
            if told.malicious:
                self._settle()  # nothing that comes makes it better
            self.asked = b""
            self.guarded.held = len(self.fresh)
            self._look(exchange)
            self._let_on(exchange)

    # -- what becomes of the answer

    def _open(self, exchange: Exchange) -> None:
        """Send the head, once; events may be added to the body, so its length is not told."""
        if not exchange.responding:
            length = UNKNOWN_LENGTH if self.mode == STREAM else self.length
            self.inner.respond(exchange, self.status, self.reason, self.fields, length)

    def _release(self, exchange: Exchange) -> None:
        """Send all that is held."""
        held = b"".join(self.parts) if self.mode == WHOLE else self.asked + self.fresh
        if self.ended:
            self.length = len(held)
        self._open(exchange)
        if held:
            self.inner.send(exchange, held)
        self.parts = []
        self.asked = b""
        self.fresh = b""
        self.guarded.held = 0

    def _settle(self) -> None:
        """Judge nothing more of a stream that passes at once."""
        self.settled = True
        self.fresh = b""

    def _finish(self, exchange: Exchange) -> None:
        """The stream has come to its end, and all of it has been judged."""
        self._open(exchange)
        if self.tail:
            self.inner.send(exchange, COMMENT + self.tail + b"\n\n")
        self.inner.done(exchange)

    def _unfit(self, exchange: Exchange, verdict: bytes, why: str) -> None:
        """The answer's kind or size is not for the guard, which is known before anything of it has gone out."""
        self.guarded.response = verdict
        if self.fails_open:
            exchange.response_fields += LINE + verdict
            self._release(exchange)
            self.mode = PASS
        else:
            self.mode = REFUSE
            self.refusal = refusals.answer_unreadable(exchange, why)

    def _failed(self, exchange: Exchange, verdict: bytes, refusal: Response) -> None:
        """There is no verdict, and there will be none."""
        self.guarded.response = verdict
        self.guarded.of_response = None
        if not self.fails_open:
            self._end(exchange, refusal)
            return
        if self.mode == STREAM and not self.blocks:
            self.tail = verdict
            self._settle()
            self.asked = b""
            self.guarded.held = 0
            self._look(exchange)
        else:
            if not exchange.responding:
                exchange.response_fields += LINE + verdict
            self._release(exchange)
            self.mode = PASS
            self.inner.done(exchange) if self.ended else self.inner.flush(exchange)
        self._let_on(exchange)

    def _refuse(self, exchange: Exchange) -> None:
        if self.refusal is not None:
            self._end(exchange, self.refusal)

    def _end(self, exchange: Exchange, refusal: Response) -> None:
        """Let no more through: a problem in place of the answer, or as a stream's last event, which is then cut off."""
        target = exchange.target_side
        if target is not None:
            target.cancel(exchange)
        if not exchange.responding:
            self.inner.answer(exchange, refusal)
            return
        exchange.code = refusal.code
        self.inner.send(exchange, refusals.event(refusal))
        self.inner.cut(exchange)

    # -- flow control

    def _hold_back(self, exchange: Exchange) -> None:
        """Read no more of the upstream while very much waits for a verdict."""
        target = exchange.target_side
        if exchange.finished or self.paused or target is None:
            return
        if self.asking and self.guarded.held > AHEAD:
            self.paused = True
            exchange.deadline = 0.0
            target.pause()

    def _let_on(self, exchange: Exchange) -> None:
        """Read on, unless the client can't take more: it will say when it can."""
        target = exchange.target_side
        if not self.paused or exchange.finished or target is None or (self.asking and self.guarded.held > AHEAD):
            return
        self.paused = False
        route = exchange.route
        if route is not None and route.idle > 0.0:
            exchange.deadline = time.monotonic() + route.idle
        inner = self.inner
        if not isinstance(inner, Answering) or inner.writable:
            target.resume()


def end_of_events(data: bytes) -> int:
    """Where the last whole event ends; 0 when there is none."""
    return max([data.rfind(end) + len(end) if end in data else 0 for end in ENDS])


def value_of(lines: bytes, name: bytes) -> bytes | None:
    """The value of a field among raw lines, each `CRLF Name: value`; several joined with ", "; None: there is none."""
    found: list[bytes] = []
    for line in lines.split(b"\r\n"):
        if line[: len(name) + 1].lower() == name + b":":
            found.append(line[len(name) + 1 :].strip())
    return b", ".join(found) if found else None
