"""The table of environment variables: what is refused, what is warned of, and that every page has all of it."""

from __future__ import annotations

import re

import pytest
from tests.e2e import documented
from tests.e2e.walkthrough import ROOT

from portico.errors import VariableError
from portico.runtime import environment, secret
from portico.runtime.environment import VARIABLES, refuse, unknown

NAMES = [variable.name for variable in VARIABLES]


def test_the_example_file_is_the_table() -> None:
    assert (ROOT / ".env.example").read_text("utf-8") == environment.example()


def test_the_page_is_the_table() -> None:
    page = documented.rows(ROOT / "docs" / "reference" / "environment.md")
    assert {name: (cells[0].strip("`"), cells[1]) for name, cells in page.items()} == {
        variable.name: (variable.default, variable.purpose) for variable in VARIABLES
    }


def test_every_variable_that_the_sources_read_is_in_the_table_and_no_other() -> None:
    files = [path for folder in ("src", "tests", "tools", "bench") for path in (ROOT / folder).rglob("*.py")]
    read = re.compile(
        r"""(?:environ(?:\.get|\.pop)?|env)[\[(]\s*["'](PORTICO_[A-Z_]+)["']|: Final = "(PORTICO_[A-Z_]+)\""""
    )
    found = {name for path in files for pair in read.findall(path.read_text("utf-8")) for name in pair if name}
    found |= set(secret.SECRETS)
    assert found - {"PORTICO_"} == set(NAMES)


@pytest.mark.parametrize(
    ("name", "value", "complaint"),
    [
        ("PORTICO_PASSPHRASE", "", "is set and empty"),
        ("PORTICO_COMPILED", "yes", "is one of auto, 1, 0, not 'yes'"),
        ("PORTICO_REQUIRE_SERVICES", "true", "is one of 0, 1, not 'true'"),
    ],
)
def test_a_value_that_cannot_be_is_refused(name: str, value: str, complaint: str) -> None:
    with pytest.raises(VariableError, match=f"the environment variable {name} {complaint}"):
        refuse({name: value})


def test_what_can_be_is_taken() -> None:
    refuse({"PORTICO_PASSPHRASE": "correct horse", "PORTICO_COMPILED": "", "PORTICO_ANYTHING": "x", "HOME": "/"})


def test_a_variable_that_nothing_reads_is_told_with_the_near_one() -> None:
    environ = {"PORTICO_PASPHRASE": "s3cret", "PORTICO_FAR_FROM_ALL": "x", "PORTICO_MINE": "x", "OTHER": "x"}
    told = list(unknown(environ, "keys: [{id: a, sha256: '${PORTICO_MINE}'}]"))
    assert told == [
        "the environment variable PORTICO_FAR_FROM_ALL is set, and nothing reads it",
        "the environment variable PORTICO_PASPHRASE is set, and nothing reads it; did you mean PORTICO_PASSPHRASE?",
    ]
