"""The JSON Schema (draft 2020-12) of portico.yaml, for editors."""

from __future__ import annotations

from typing import Any

from portico.config.settings import Settings


def json_schema() -> dict[str, Any]:
    """Every key with its description, default and pattern; what is between keys only `portico check` knows."""
    schema = Settings.model_json_schema(by_alias=True, mode="validation")
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "title": "portico.yaml"}
