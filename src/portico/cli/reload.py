"""`portico reload`: make a running gateway read its configuration again."""

from __future__ import annotations

from portico.cli.options import Config, DataDir, Json


def run(config: Config = None, data_dir: DataDir = None, as_json: Json = False) -> None:
    """Read the configuration again. A wrong one is refused, and the last good one goes on."""
    from portico.cli.output import show
    from portico.runtime import control, find

    body = control.ask(find.locate(config, data_dir), "reload")
    lines = [f"reloaded: version {body['version']}", *(f"warning: {warning}" for warning in body["warnings"])]
    show(body, lines, as_json)
