"""The rules of accounts are those of the configuration, without loading it."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest

from portico.config import grammar, scalars, units
from portico.errors import Invalid
from portico.storage.accounts import rules

PERMISSIONS = (
    "",
    "*",
    "a",
    "a:b",
    "a:b:c",
    "a:b:c:d",
    "a:*",
    "*:*:*",
    "a::b",
    ":",
    "a:b ",
    "ä:b",
    "a:b\n",
    "A_.-:x",
    "\0",
)
NETWORKS = ("10.0.0.0/8", "10.0.0.1/8", "192.0.2.7", "2001:db8::/32", "2001:DB8::1", "fe80::1%eth0", "10.0.0.0/33", "1")
RATES = ("60/minute", "0/minute", "01/minute", "1/second", "1000000000/day", "9/hour", "60/Minute", "60/minute ", "60")
TEXTS = (*PERMISSIONS, *NETWORKS, *RATES)


def outcome(check: Callable[[Any], Any], text: str) -> Any:
    try:
        return check(text)
    except (ValueError, Invalid):
        return "refused"


@pytest.mark.parametrize("text", TEXTS)
def test_they_agree_with_the_configuration(text: str) -> None:
    assert outcome(lambda t: rules.permissions([t])[0], text) == outcome(grammar.permission, text)
    assert outcome(lambda t: rules.networks([t])[0], text) == outcome(grammar.network, text)
    if text:
        assert outcome(lambda t: rules.rate("rate", t) and True, text) == outcome(lambda t: bool(units.rate(t)), text)


def test_a_name_is_what_it_is_there() -> None:
    assert rules.NAME_PATTERN == scalars.NAME_PATTERN


def test_storage_does_not_load_the_configuration() -> None:
    program = """
import sys
import portico.storage.assembly, portico.storage.commands
found = {name for name in sys.modules if name.startswith("portico.config") or name.split(".")[0] in ("alembic", "yaml")}
assert not found, found
"""
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)
