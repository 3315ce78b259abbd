"""`portico schema`: the JSON Schema of the configuration, for editors."""

from __future__ import annotations

import json

from portico.cli.options import Json


def run(as_json: Json = False) -> None:
    """Print the JSON Schema of portico.yaml (with or without --json)."""
    from portico.config import json_schema

    print(json.dumps(json_schema(), indent=None if as_json else 2))
