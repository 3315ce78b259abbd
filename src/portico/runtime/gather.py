"""Asking children and waiting for them, without blocking: what one answers late, or never, is left out."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final

from portico.kernel.channel import Message
from portico.runtime.child import Child
from portico.runtime.loop import Loop

PATIENCE: Final = 1.0  # seconds

Answers = list[tuple[Child, dict[str, Any]]]


class Question:
    """One question to several children."""

    def __init__(self, what: str, waiting: dict[int, Child], done: Callable[[Answers], None]) -> None:
        self.what = what
        self.waiting = waiting
        self.done = done
        self.answers: Answers = []


class Gatherer:
    """Sends questions and brings the answers together."""

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self._last = 0
        self._open: dict[int, Question] = {}

    def ask(
        self,
        children: Iterable[Child],
        what: str,
        done: Callable[[Answers], None],
        patience: float = PATIENCE,
        **more: dict[str, Any],
    ) -> None:
        """Ask each of `children`, with `more` in the message; `done` gets what came within `patience` seconds, once."""
        self._last += 1
        number = self._last
        question = Question(what, {}, done)
        for child in children:
            if child.send({"type": "ask", "id": number, "what": what, **more}):
                question.waiting[child.pid] = child
        self._open[number] = question
        if question.waiting:
            self._loop.later(patience, lambda: self._finish(number))
        else:
            self._finish(number)

    def answered(self, child: Child, message: Message) -> None:
        """Take an `answer` message."""
        number = message.get("id", 0)
        question = self._open.get(number)
        if question is None or question.waiting.pop(child.pid, None) is None:
            return  # too late
        body = message.get("body")
        if isinstance(body, dict):
            if question.what == "report":
                child.report = body
            question.answers.append((child, body))
        if not question.waiting:
            self._finish(number)

    def lost(self, pid: int) -> None:
        """A child died: nobody waits for it any longer."""
        for number, question in list(self._open.items()):
            if question.waiting.pop(pid, None) is not None and not question.waiting:
                self._finish(number)

    def _finish(self, number: int) -> None:
        question = self._open.pop(number, None)
        if question is not None:
            question.done(question.answers)
