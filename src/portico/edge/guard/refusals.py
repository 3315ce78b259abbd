"""How a guard refuses. No sentence repeats what was found."""

from __future__ import annotations

import json
from typing import Final

from portico.edge.exchange import Exchange, Response
from portico.edge.guard.asking import Told

AGAIN: Final = b"\r\nRetry-After: 1"
UNSCANNED: Final = "is neither JSON nor text in UTF-8, or is compressed: the guard of this route can't scan it"
LARGE: Final = "is larger than the guard of this route scans"
ANSWER_HINT: Final = "ask for something else; the operator finds the request_id in the log"


def blocked(exchange: Exchange, told: Told) -> Response:
    """The request looks like an attack."""
    detail = f"the body looks like an attack on a language model: {', '.join(told.threats)}"
    hint = "change what the body says; a text about attacks can look like one"
    return exchange.problem(422, "guard_blocked", detail, hint)


def too_large(exchange: Exchange, most: int) -> Response:
    """More than is scanned."""
    detail = f"the body exceeds the {most} bytes that the guard of this route scans"
    return exchange.problem(
        413, "body_too_large", detail, "send a smaller body, or ask the operator for a larger guard.max_bytes"
    )


def unscannable(exchange: Exchange) -> Response:
    """Of a kind that is not scanned."""
    hint = "send JSON or text in UTF-8, and say so in Content-Type"
    return exchange.problem(415, "guard_unscannable", f"the body {UNSCANNED}", hint)


def bad_json(exchange: Exchange, why: str) -> Response:
    """Readers disagree about it, so that what was scanned might not be what is read."""
    return exchange.problem(400, "bad_json", f"the body can't be read: {why}", "send one JSON text in UTF-8")


def unavailable(exchange: Exchange) -> Response:
    """Nobody can scan it now."""
    detail = "the services that scan for attacks can't be asked at the moment"
    return exchange.problem(503, "guard_unavailable", detail, "try again after Retry-After seconds", AGAIN)


def answer_blocked(exchange: Exchange, told: Told) -> Response:
    """The answer looks like an attack on who reads it."""
    detail = f"the answer looks like an attack on a language model: {', '.join(told.threats)}"
    return exchange.problem(502, "guard_answer_blocked", detail, ANSWER_HINT)


def answer_unreadable(exchange: Exchange, why: str) -> Response:
    """The answer can't be scanned."""
    return exchange.problem(502, "guard_answer_unreadable", f"the answer {why}", ANSWER_HINT)


def event(response: Response) -> bytes:
    """A refusal as the last event of a stream, in the form that OpenAI-style clients know."""
    problem = json.loads(response.body)
    error = {"message": problem["detail"], "type": "portico", "code": problem["code"]}
    error["request_id"] = problem["request_id"]
    return b"\n\nevent: error\ndata: " + json.dumps({"error": error}).encode() + b"\n\n"
