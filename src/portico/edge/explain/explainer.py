"""Explains requests on one plan: leads each through it several times, and tells what it met."""

from __future__ import annotations

import ipaddress
import json
import time
from typing import Any, Final

from portico import contracts
from portico.edge import exchange as exchange_module
from portico.edge.exchange import Exchange, Response
from portico.edge.explain.found import added
from portico.edge.explain.mask import mask_head, mask_segment, mask_target, secrets_of
from portico.edge.explain.passage import NOT_ASKED, NOT_REACHED, Asked, Known, Passage, Question, Seen
from portico.edge.http1.names import Names
from portico.edge.refusals import reserved
from portico.edge.state import EdgeState

RUNS: Final = 15  # passages whose median a cost is, if they fit into
PATIENCE: Final = 2_000_000  # nanoseconds; requests are being served meanwhile
MOST_LOOKS: Final = 32  # steps of one route that are looked up
LONGEST_BODY: Final = 1 << 60
PHASES: Final = {number: name for name, number in contracts.PHASES.items()}


class Explainer:
    """Answers questions {"head", "client", "scheme", "body_bytes"} with what `portico explain --json` shows.

    `head` is the request head as Latin-1 text, with or without its final empty line; `client` the address that
    connects. Nothing is spent, counted or logged, and no upstream is asked.
    """

    def __init__(self, state: EdgeState) -> None:
        self.state = state
        self.names = Names()

    def explain(self, question: dict[str, Any]) -> dict[str, Any]:
        """The explanation; ValueError when the question is malformed."""
        return self._told(read(question), {})

    async def explain_live(self, question: dict[str, Any]) -> dict[str, Any]:
        """The same; credentials are asked for and shared limits looked up where they are kept."""
        asked = read(question)
        known: Known = {}
        for _ in range(MOST_LOOKS):
            passage = Passage(self.state, self.names, asked, known)
            passage.go()
            if passage.pending is None:
                break
            index, look, why = passage.pending
            before = passage.exchange.response_fields
            known[index] = Seen(await look, passage.exchange, before, why)
        return self._told(asked, known)

    def _told(self, asked: Question, known: Known) -> dict[str, Any]:
        first = self._passage(asked, known)
        costs = [first.costs]
        until = time.perf_counter_ns() + PATIENCE
        while len(costs) < RUNS and time.perf_counter_ns() < until:
            costs.append(self._passage(asked, known).costs)
        return tell(first, [round(sorted(each)[len(each) // 2] / 1000, 1) for each in zip(*costs, strict=True)])

    def _passage(self, asked: Question, known: Known) -> Passage:
        passage = Passage(self.state, self.names, asked, known)
        passage.go()
        if passage.pending is not None:
            passage.pending[1].close()  # type: ignore[attr-defined]  # a coroutine
        return passage


def read(question: dict[str, Any]) -> Question:
    """The question, checked; asked now."""
    head, client, scheme = question.get("head"), question.get("client", ""), question.get("scheme", "http")
    size = question.get("body_bytes", 0)
    if not isinstance(head, str) or not isinstance(client, str) or scheme not in ("http", "https"):
        raise ValueError("a question has a head, the client's address and a scheme")
    if not isinstance(size, int) or not 0 <= size <= LONGEST_BODY:
        raise ValueError("body_bytes is a number of bytes")
    address = str(ipaddress.ip_address(client)) if client else ""
    raw = head.encode("latin-1").partition(b"\r\n\r\n")[0]
    return Question(raw, address.encode(), scheme.encode(), size, time.monotonic(), time.time())


def tell(passage: Passage, costs: list[float]) -> dict[str, Any]:
    """A passage as plain values; `costs` in microseconds, in the order of `Passage.costs`."""
    steps = [_step(asked) for asked in passage.steps]
    rest = costs[2:]
    for step in steps:
        timed = step["outcome"] != NOT_REACHED and (step["outcome"] != NOT_ASKED or "needs time" in step["why"][0])
        step["cost_us"] = rest.pop(0) if timed else None
    exchange, route = passage.exchange, passage.route
    secrets = secrets_of(exchange)
    params = {name: mask_segment(value, secrets).decode("latin-1") for name, value in passage.params.items()}
    return {
        "version": passage.state.plan.version,
        "compiled": not str(exchange_module.__file__).endswith(".py"),
        "matched": _matched(exchange) if passage.readable and not reserved(exchange) else None,
        "request": _request(exchange, secrets) if passage.readable else None,
        "route": None if route is None else {"name": route.name, "params": params},
        "steps": steps,
        "answer": None if passage.answer is None else _answer(passage.answer),
        "certain": passage.certain,
        "forward": _forward(passage, secrets),
        "response_fields": added(b"", exchange.response_fields),
        "cost_us": {
            "read": costs[0],
            "route": costs[1] if len(costs) > 1 else None,
            "head": rest[0] if rest and passage.head else None,
            "total": round(sum(costs), 1),
        },
    }


def _request(exchange: Exchange, secrets: frozenset[bytes]) -> dict[str, Any]:
    return {
        "method": exchange.method.decode("latin-1"),
        "target": mask_target(exchange.target, secrets).decode("latin-1"),
        "path": mask_target(exchange.match, secrets).decode("latin-1"),
        "host": exchange.host.decode("latin-1"),
        "client": exchange.client.decode("latin-1"),
        "scheme": exchange.scheme.decode("latin-1"),
        "websocket": exchange.websocket,
    }


def _matched(exchange: Exchange) -> dict[str, str]:
    """What the route table is asked with."""
    return {
        "host": exchange.host.decode("latin-1"),
        "path": exchange.match.decode("latin-1"),
        "method": exchange.method.decode("latin-1"),
    }


def _step(asked: Asked) -> dict[str, Any]:
    step = asked.step
    told: dict[str, Any] = {
        "phase": PHASES.get(step.phase, "answer"),
        "policy": step.name,
        "outcome": asked.outcome,
        "why": list(asked.why),
    }
    if asked.answer is not None:
        answer = _answer(asked.answer)
        told.update(status=answer["status"], code=answer["code"])
        told["why"] += [answer["detail"]] if answer["detail"] else []
    return told


def _answer(response: Response) -> dict[str, Any]:
    problem: dict[str, Any] = {}
    if b"application/problem+json" in response.fields:
        problem = json.loads(response.body)
    return {
        "status": response.status,
        "code": response.code,
        "detail": problem.get("detail", ""),
        "hint": problem.get("hint", ""),
        "fields": added(b"", response.fields),
    }


def _forward(passage: Passage, secrets: frozenset[bytes]) -> dict[str, Any] | None:
    upstream, pool = passage.upstream, passage.pool
    if passage.answer is not None or upstream is None or pool is None:
        return None
    return {"upstream": upstream.name, "target": pool.target.url, "head": mask_head(passage.head, secrets)}
