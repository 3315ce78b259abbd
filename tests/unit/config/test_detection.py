"""`detection`: what engines become, and who is told of them."""

from __future__ import annotations

from portico import contracts
from portico.config import compile_snapshot
from portico.runtime.options import EDGE, SERVICES
from portico.runtime.secret import for_role

from .conftest import Read, Refused

ENGINE = "{name: main, url: 'https://engine:9000/base/', headers: {X-Key: '${KEY}'}}"
GIVEN = f"detection: {{engines: [{ENGINE}], on_engine_timeout: block}}"


def test_without_it_there_are_no_engines(read: Read) -> None:
    assert read("detection:").detection.plain() == contracts.Detection()


def test_only_the_services_are_told_of_engines(read: Read) -> None:
    snapshot = compile_snapshot(read(GIVEN, env={"KEY": "hush"}), version=1).snapshot
    engine = contracts.Engine("main", "https://engine:9000/base/v1/detect", 2.0, {"X-Key": "hush"})
    assert for_role(snapshot, SERVICES).detection == contracts.Detection((engine,), "block")
    assert for_role(snapshot, EDGE).detection == contracts.Detection()
    assert contracts.load(contracts.dump(snapshot)) == snapshot
    assert "hush" not in repr(snapshot)


def test_the_whole_address_may_be_given(read: Read) -> None:
    made = read("detection: {engines: [{name: a, url: 'http://a/v1/detect'}]}").detection.plain()
    assert made.engines[0].url == "http://a/v1/detect"


def test_nobody_is_called_where_nobody_may_be(refused: Refused) -> None:
    found = refused("outbound: {mode: none}\ndetection: {engines: [{name: a, url: 'http://a'}]}")
    assert [each.split(": ", 1)[1] for each in found] == [
        "detection.engines[0]: is called by Portico, and outbound.mode none forbids that"
    ]
