"""`portico explain`: asks a running gateway's edge, or a short-lived process that compiles the configuration."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Final

from portico import contracts
from portico.errors import PorticoError
from portico.runtime import control
from portico.runtime.child import Child
from portico.runtime.control_server import Reply
from portico.runtime.gather import Answers, Gatherer
from portico.runtime.options import EDGE
from portico.runtime.secret import for_role

PATIENCE: Final = 30.0  # seconds for a process that imports and compiles


def answer(gatherer: Gatherer, workers: list[Child], question: Any, snapshot: contracts.Snapshot, reply: Reply) -> None:
    """The supervisor's part: the first worker explains; the routes go along, so that the caller can say why not."""
    if not isinstance(question, dict):
        reply({"ok": False, "error": "explain needs a question"})
        return
    if not workers:
        reply({"ok": False, "error": "no edge worker is ready to explain"})
        return

    def arrived(answers: Answers) -> None:
        body = answers[0][1] if answers else {"error": "the edge worker did not explain in time"}
        if "error" in body:
            reply({"ok": False, "error": body["error"]})
        else:
            reply({"ok": True, "body": {**body, "routes": [_plain(route) for route in snapshot.routes]}})

    gatherer.ask(workers[:1], "explain", arrived, question=question)


def live(data_dir: Path, question: dict[str, Any]) -> dict[str, Any]:
    """What the running gateway of `data_dir` would do now. NotRunning, ControlError."""
    told = control.ask(data_dir, "explain", 10.0, question=question)
    return _with_passed_over(told, [_route(*each) for each in told.pop("routes")])


def fresh(snapshot: contracts.Snapshot, question: dict[str, Any]) -> dict[str, Any]:
    """What a gateway that has just started on `snapshot` would do."""
    command = [sys.executable, "-P", "-m", "portico.edge.explain"]
    asked = json.dumps({"snapshot": contracts.dump(for_role(snapshot, EDGE)), "question": question})
    ended = subprocess.run(command, input=asked, capture_output=True, text=True, timeout=PATIENCE, check=False)
    try:
        told: dict[str, Any] = json.loads(ended.stdout)
    except ValueError:
        cause = ended.stderr.strip().rpartition("\n")[2] or f"it ended with code {ended.returncode}"
        raise PorticoError(f"the explaining process failed: {cause}") from None
    if "error" in told:
        raise PorticoError(f"the configuration can't be explained: {told['error']}")
    return _with_passed_over(told, snapshot.routes)


def _plain(route: contracts.Route) -> list[Any]:
    """What requests are matched by."""
    from portico.edge.routes import methods_of  # not while the supervisor starts

    return [route.name, route.hosts, route.paths, methods_of(route)]


def _route(name: str, hosts: list[str], paths: list[str], methods: list[str]) -> contracts.Route:
    return contracts.Route(name, tuple(paths), "", hosts=tuple(hosts), methods=tuple(methods))


def _with_passed_over(told: dict[str, Any], routes: Iterable[contracts.Route]) -> dict[str, Any]:
    """The explanation with what only the whole table tells, and without what only that needs."""
    from portico.edge.explain.passed import Asked, passed_over, patterns

    matched = told.pop("matched")
    if matched is not None:
        told["match"] = passed_over(patterns(routes), Asked(**matched))
    return told
