"""`portico plugins`: what is installed, what starts, in which order, where and why."""

from __future__ import annotations

import dataclasses

from portico.cli.options import Config, Json

COLUMNS = ("order", "plugin", "type", "role", "state", "reason")


def run(config: Config = None, as_json: Json = False) -> None:
    """List the plugins in the order of start-up."""
    from portico.cli.output import show, table
    from portico.runtime.build import Builder, plugin_states
    from portico.runtime.find import default_config
    from portico.runtime.options import UpOptions

    states = plugin_states(Builder(UpOptions(config=config or default_config())).settings())
    rows = [(each.order or "", each.id, each.type, each.role, each.state, each.reason) for each in states]
    show({"plugins": [dataclasses.asdict(each) for each in states]}, table(COLUMNS, rows), as_json)
