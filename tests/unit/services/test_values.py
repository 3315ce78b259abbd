"""What the schema lets through, the repositories take."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from pydantic import TypeAdapter

from portico.services import values
from portico.storage.accounts import rules


def matching(kind: Any) -> st.SearchStrategy[str]:
    schema = TypeAdapter(kind).json_schema()
    found = st.from_regex(schema["pattern"].removesuffix("$") + r"\Z", alphabet=st.characters(codec="utf-8"))
    return found.filter(lambda text: len(text) <= schema.get("maxLength", 10_000))


@given(matching(values.Permission))
def test_permissions(text: str) -> None:
    assert rules.permissions([text]) == [text]


@given(matching(values.Name))
def test_names(text: str) -> None:
    assert rules.name("tenant", text) == text


@given(matching(values.Pace))
def test_paces(text: str) -> None:
    assert rules.rate("rate", text) == text


@given(matching(values.Daily))
def test_daily(text: str) -> None:
    assert rules.quota(text) == text
