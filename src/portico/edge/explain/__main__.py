"""`python -m portico.edge.explain`: explains one request on a fresh plan, in a process of its own.

Standard input: {"snapshot": what `contracts.dump` wrote, "question": …}. Standard output: what became of it, or
{"error"}.
"""

from __future__ import annotations

import asyncio
import json
import secrets
import sys
from typing import Any

from portico.errors import PorticoError
from portico.kernel import compiled


async def explain(asked: dict[str, Any]) -> dict[str, Any]:
    """The explanation; what the building of a plan raises."""
    from portico import contracts  # all these after `compiled.install`
    from portico.edge.accesslog import AccessLog
    from portico.edge.build import Builder
    from portico.edge.callers import Callers
    from portico.edge.exchange import Step
    from portico.edge.explain.explainer import Explainer
    from portico.edge.plan import CompiledRoute, Plan
    from portico.edge.record import Recorder, RouteStats
    from portico.edge.routes import Table
    from portico.edge.state import EdgeState

    recorder = Recorder(AccessLog(""))  # never started: nothing is logged
    key = secrets.token_bytes(32)
    builder = Builder(recorder, nobody, key, Callers("services", key))  # never started: whom they know, nobody tells
    builder.services = contracts.Upstream(contracts.SERVICES, (contracts.Target("unix:services", path="services"),))
    empty: list[Step] = []
    nothing = Plan(0, Table([]), CompiledRoute("", empty, None, RouteStats("")))
    state = EdgeState(asyncio.get_running_loop(), nothing, recorder)
    state.principal_key = key
    state.plan = builder.build(contracts.load(asked["snapshot"]), state)
    return Explainer(state).explain(asked["question"])


async def nobody(what: str) -> dict[str, Any]:
    """There is no supervisor to ask."""
    raise ConnectionError(f"nobody can be asked about {what} here")


def main() -> int:
    """The process's exit code."""
    try:
        compiled.install()
        told = asyncio.run(explain(json.load(sys.stdin)))
    except (PorticoError, OSError, ImportError, ValueError, TypeError) as error:
        json.dump({"error": f"{error}"}, sys.stdout)
        return 1
    json.dump(told, sys.stdout)
    return 0


if __name__ == "__main__":
    sys.exit(main())
