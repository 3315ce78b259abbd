"""`portico down`: stop a running gateway."""

from __future__ import annotations

from portico.cli.options import Config, DataDir, Json


def run(config: Config = None, data_dir: DataDir = None, as_json: Json = False) -> None:
    """Stop the gateway. It finishes what is in flight; the command returns when it has ended."""
    from portico.cli.output import show
    from portico.runtime import control, find

    where = find.locate(config, data_dir)
    pid = control.stop(where)
    show({"stopped": pid, "data_dir": str(where)}, [f"stopped process {pid}"], as_json)
