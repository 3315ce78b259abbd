"""`tracing`: what it becomes, and what it says when OpenTelemetry is not installed."""

from __future__ import annotations

import importlib.util
from typing import Any

import pytest

from portico.config import compile_snapshot
from portico.contracts import Tracing
from portico.runtime.options import EDGE, SERVICES
from portico.runtime.secret import for_role

from .conftest import Read, Refused

GIVEN = "tracing: {endpoint: 'https://collector:4318/', sample: 25%, headers: {api-key: '${KEY}'}}"


def test_it_is_off_unless_it_is_there(read: Read) -> None:
    assert read("{}").tracing is None
    assert read("tracing:").tracing is None


def test_the_edge_is_told_neither_where_spans_go_nor_with_which_key(read: Read) -> None:
    snapshot = compile_snapshot(read(GIVEN, env={"KEY": "hush"}), version=1).snapshot
    whole = Tracing("https://collector:4318/v1/traces", 0.25, False, {"api-key": "hush"}, "portico")
    assert for_role(snapshot, SERVICES).tracing == whole
    assert for_role(snapshot, EDGE).tracing == Tracing("", 0.25, False, {}, "portico")
    assert "hush" not in repr(snapshot)


def test_the_whole_address_may_be_given(read: Read) -> None:
    made = read("tracing: {endpoint: 'http://a/otlp/v1/traces'}").tracing
    assert made is not None
    assert made.plain().endpoint == "http://a/otlp/v1/traces"


def test_without_the_library_it_is_refused(refused: Refused, monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec

    def missing(name: str, *more: Any) -> Any:
        if name.startswith("opentelemetry."):
            raise ModuleNotFoundError(name)
        return None if name == "opentelemetry" else find(name, *more)

    monkeypatch.setattr("portico.config.tracing.find_spec", missing)
    assert refused("tracing: {endpoint: 'http://a'}") == [
        "portico.yaml:1: tracing: needs OpenTelemetry, which is not installed: pip install 'portico[tracing]'"
    ]
