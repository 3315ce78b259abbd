"""Every built-in plugin conforms, and the suite notices those that don't."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from portico.kernel.discovery import DEFAULT, available
from portico.testing import conformance
from portico.testing.conformance import Subject

BAD = "tests.unit.testing.bad_plugins"


@pytest.mark.parametrize("check", conformance.CHECKS, ids=lambda check: check.__name__)
@pytest.mark.parametrize("name", DEFAULT)
def test_every_built_in_conforms(name: str, check: Callable[[Subject], None]) -> None:
    check(Subject(available()[name].factory))


def test_every_built_in_is_in_the_default_set() -> None:
    assert sorted(each.id for each in available().values() if each.distribution == "portico") == sorted(DEFAULT)


def test_conforming_ones_pass() -> None:
    conformance.check_plugin(f"{BAD}:Good")
    conformance.check_plugin(f"{BAD}:StrictModel", {"size": 3})


@pytest.mark.parametrize(
    ("check", "name", "config", "message"),
    [
        ("info", "OddId", {}, "the id 'Odd Id' is not a lower-case name"),
        ("constructor", "OpensInConstructor", {}, "the constructor opened something: descriptors"),
        ("constructor", "ChangesConfig", {}, "the constructor changed its configuration"),
        ("lifecycle", "LeavesTask", {}, "after stop there is still: tasks"),
        ("lifecycle", "LeavesThread", {}, "after stop there is still: threads"),
        ("half_done", "LeaksWhenCut", {}, "after stop there is still: descriptors"),
        ("config", "LaxModel", {}, "models:Lax accepts unknown keys"),
        ("config", "Good", {"a": 1}, "a plugin without config_model takes no configuration"),
        ("policies", "NoPhase", {}, "policy no_phase: 7 is no phase"),
        ("policies", "HeavyPolicy", {}, "importing tests.unit.testing.models loads pydantic"),
        ("policies", "Twins", {}, "two policies have one id"),
        ("router", "Undeclared", {}, r"mounts and routes differ: \[\('POST', '/api/v1/forgotten'\)\]"),
        ("router", "Unreachable", {}, "no listener can reach /_portico/"),
    ],
)
def test_what_breaks_a_rule_is_named(check: str, name: str, config: dict[str, Any], message: str) -> None:
    with pytest.raises(AssertionError, match=message):
        getattr(conformance, f"check_{check}")(Subject(f"{BAD}:{name}", config))


@pytest.mark.parametrize(("check", "name"), [("lifecycle", "StopsOnce"), ("half_done", "NeedsStart")])
def test_a_stop_that_fails_is_seen(check: str, name: str) -> None:
    with pytest.raises((IndexError, AttributeError)):
        getattr(conformance, f"check_{check}")(Subject(f"{BAD}:{name}"))


def test_check_plugin_tells_all_that_is_wrong() -> None:
    with pytest.raises(AssertionError, match=r"(?s)Twins does not conform:.*check_policies: two policies have one id"):
        conformance.check_plugin(f"{BAD}:Twins")
