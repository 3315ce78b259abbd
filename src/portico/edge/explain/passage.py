"""One passage of a request through the plan, as a client connection would lead it, each part timed."""

from __future__ import annotations

import time
from collections.abc import Awaitable
from typing import Any, Final

from portico.contracts import AUTHENTICATE, LIMIT
from portico.edge.exchange import UNKNOWN_LENGTH, Downstream, Exchange, Response, Step
from portico.edge.explain.found import Before
from portico.edge.forward.heads import request_head
from portico.edge.forward.pool import Pool
from portico.edge.forward.upstream import Upstream
from portico.edge.forwarded import Forwarded
from portico.edge.http1.errors import HeadError
from portico.edge.http1.head import RequestHead
from portico.edge.http1.names import CRLF, Names
from portico.edge.plan import CompiledRoute
from portico.edge.policies.key_limits import NOTE
from portico.edge.policies.request_id import new_request_id
from portico.edge.policies.require import WHY
from portico.edge.refusals import head_refused, nowhere, overloaded, policy_failed, reserved, too_large
from portico.edge.state import EdgeState
from portico.identity.principal import sign

PASSES: Final = "passes"
ANSWERS: Final = "answers"
NOT_ASKED: Final = "not asked"
NOT_REACHED: Final = "not reached"


WAITED: Final = (AUTHENTICATE, LIMIT)  # phases whose peeks may ask others, where the explanation can wait for them


class Seen:
    """What a peek that needed time found out, taken from the exchange that it was asked with."""

    def __init__(self, answer: Response | None, exchange: Exchange, before: bytes, why: list[str]) -> None:
        self.answer = answer
        self.fields = exchange.response_fields[len(before) :]
        self.why = why if answer is None else []
        self.principal = exchange.principal
        self.credential = exchange.credential
        self.limits = exchange.notes.get(NOTE)

    def tell(self, exchange: Exchange) -> Response | None:
        """Leave in another exchange what the peek would have left there."""
        exchange.response_fields += self.fields
        exchange.principal = self.principal
        exchange.credential = self.credential
        if self.limits is not None:
            exchange.notes[NOTE] = self.limits
        if self.why:
            exchange.notes[WHY] = list(self.why)
        return self.answer


Known = dict[int, Seen]


class Question:
    """A request to explain. `body_bytes` counts where the head does not say how long the body is."""

    def __init__(self, head: bytes, client: bytes, scheme: bytes, body_bytes: int, now: float, wall: float) -> None:
        self.head = head  # without its final empty line
        self.client = client  # the address that connects
        self.scheme = scheme
        self.body_bytes = body_bytes
        self.now = now  # monotonic seconds
        self.wall = wall  # seconds since 1970


class Asked:
    """What became of one step; `why` are sentences."""

    def __init__(self, step: Step, outcome: str, why: list[str], answer: Response | None = None) -> None:
        self.step = step
        self.outcome = outcome
        self.why = why
        self.answer = answer


class Passage:
    """What a request would meet. `costs` are nanoseconds of: read, route, each step asked, head.

    `known` is what peeks that needed time have found out, by the step's place. `pending` is the first such peek that is
    not among them.
    """

    def __init__(self, state: EdgeState, names: Names, question: Question, known: Known | None = None) -> None:
        self.known = known or {}
        self.pending: tuple[int, Awaitable[Response | None], list[str]] | None = None
        self.state = state
        self.names = names
        self.question = question
        self.request = RequestHead(names)
        self.exchange = Exchange(Downstream(), self.request.fields, question.now, question.wall)
        self.forwarded = Forwarded(question.client, question.scheme)
        self.readable = False
        self.route: CompiledRoute | None = None
        self.allowed: list[bytes] = []  # by routes that take other methods
        self.params: dict[str, bytes] = {}
        self.steps: list[Asked] = []
        self.answer: Response | None = None
        self.certain = True
        self.upstream: Upstream | None = None
        self.pool: Pool | None = None
        self.head = b""
        self.costs: list[int] = []
        self.clock = 0

    def go(self) -> None:
        """From the head's bytes to the head that would be sent upstream."""
        self.clock = time.perf_counter_ns()
        try:
            self._read()
        except HeadError as error:
            self.exchange.request_id = new_request_id(self.question.wall)
            self.answer = head_refused(self.exchange, error)
            return
        finally:
            self._lap()
        self.readable = True
        steps = self._find()
        self._lap()
        self._ask(steps)
        if self.answer is not None:
            return
        if self.route is None:
            self.answer = nowhere(self.exchange, self.allowed)
            return
        self._forward(self.route)
        self._lap()

    def _lap(self) -> None:
        now = time.perf_counter_ns()
        self.costs.append(now - self.clock)
        self.clock = now

    def _read(self) -> None:
        question = self.question
        limit = self.state.plan.header_bytes
        if len(question.head) > limit:
            status = 431 if question.head.find(CRLF, 0, limit) >= 0 else 414
            raise HeadError(status, "head_too_large", f"the head exceeds {limit} bytes")
        request, exchange = self.request, self.exchange
        request.read(question.head)
        exchange.take(request)
        exchange.body_done = request.length == 0
        exchange.peer = question.client
        exchange.scheme = question.scheme
        self.forwarded.trust(self.state.plan.trusted)
        exchange.client = self.forwarded.client(exchange, self.state.plan.trusted)
        if self.state.tracer is not None:
            exchange.trace = self.state.tracer.begin(exchange)  # for the head; nothing of it is recorded

    def _find(self) -> list[Step]:
        """The steps of the route, or of a request that no route takes."""
        plan, exchange = self.state.plan, self.exchange
        found = plan.table.find(exchange.host, exchange.match, exchange.method)
        route = found.value
        if not isinstance(route, CompiledRoute) or reserved(exchange):
            self.allowed = found.allowed
            return plan.unmatched.steps
        self.route = exchange.route = route
        self.params = dict(zip(found.names, found.params, strict=True))
        exchange.params = found.params
        exchange.body_limit = route.body_limit
        exchange.websocket = self.request.websocket and route.websocket
        busy = self.state.in_flight + 1 > plan.in_flight or self.state.buffered > plan.buffered
        if busy and not route.always:
            exchange.request_id = new_request_id(exchange.wall)
            self.answer = overloaded(exchange)
        return route.steps

    def _ask(self, steps: list[Step]) -> None:
        for index, step in enumerate(steps):
            if self.answer is not None:
                self.steps.append(Asked(step, NOT_REACHED, []))
            elif step.peek is None:
                self.steps.append(Asked(step, NOT_ASKED, ["has no peek"]))
                self.certain = False
            else:
                self._peek(index, step, step.peek)

    def _peek(self, index: int, step: Step, peek: Any) -> None:
        exchange = self.exchange
        before = Before(exchange)
        self.clock = time.perf_counter_ns()
        try:
            if index in self.known:
                answer = self.known[index].tell(exchange)
            else:
                answer = peek(exchange)
        except Exception as error:  # a plugin's; the request itself would get this answer
            self.answer = policy_failed(exchange)
            self.steps.append(Asked(step, ANSWERS, [f"its peek failed: {type(error).__name__}"], self.answer))
            return
        finally:
            self._lap()
        if answer is None:
            self.steps.append(Asked(step, PASSES, before.changes(exchange)))
        elif isinstance(answer, Response):
            self.answer = answer
            self.steps.append(Asked(step, ANSWERS, list(exchange.notes.pop(WHY, [])), answer))
        else:
            why = list(exchange.notes.pop(WHY, []))
            if self.pending is None and step.phase in WAITED:
                self.pending = index, answer, why
            else:
                answer.close()
            self.steps.append(Asked(step, NOT_ASKED, ["its peek needs time"]))
            self.certain = False

    def _forward(self, route: CompiledRoute) -> None:
        exchange = self.exchange
        size = self.question.body_bytes if exchange.length == UNKNOWN_LENGTH else exchange.length
        if size > exchange.body_limit:
            self.answer = too_large(exchange)
            return
        upstream = self.upstream = route.upstream
        if upstream is None:
            if self.certain:
                self.answer = policy_failed(exchange)
            return
        exchange.request_fields += self.forwarded.fields(exchange)
        pool = self.pool = upstream.peek(exchange)
        if pool is None:
            self.answer = upstream.unavailable(exchange)
            return
        self.head = request_head(exchange, route, pool.authority, self._signed(upstream))

    def _signed(self, upstream: Upstream) -> bytes:
        """The principal's line for our services, as an upstream connection writes it."""
        exchange = self.exchange
        if not upstream.services or exchange.principal is None:
            return b""
        proof = sign(exchange.principal, exchange.request_id, exchange.wall, self.state.principal_key)
        return b"\r\nX-Portico-Principal: " + proof
