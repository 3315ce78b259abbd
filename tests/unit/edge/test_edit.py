from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portico.edge.edit import Edit

LINES = b"\r\nHost: a\r\nX-Tag: 1\r\nx-tag: 2\r\nX-Tagged: 3\r\nOther: X-Tag: 4"


@pytest.mark.parametrize(
    ("edit", "expected"),
    [
        (Edit({}, {}, []), LINES),
        (Edit({}, {}, ["X-TAG"]), b"\r\nHost: a\r\nX-Tagged: 3\r\nOther: X-Tag: 4"),
        (Edit({"X-Tag": "9"}, {}, []), b"\r\nHost: a\r\nX-Tagged: 3\r\nOther: X-Tag: 4\r\nX-Tag: 9"),
        (Edit({}, {"X-Tag": "9"}, []), LINES + b"\r\nX-Tag: 9"),
        (Edit({}, {}, ["Missing"]), LINES),
        (Edit({}, {}, ["Host", "X-Tag", "X-Tagged", "Other"]), b""),
    ],
)
def test_set_replaces_add_appends_remove_drops(edit: Edit, expected: bytes) -> None:
    assert edit.apply(LINES) == expected


def test_an_empty_block_can_be_added_to() -> None:
    assert Edit({"A": "é"}, {}, ["B"]).apply(b"") == "\r\nA: é".encode()


names = st.sampled_from(["A", "a", "B", "Bb", "x-y", "X-Y"])
values = st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E), max_size=5).map(str.strip)
fields = st.lists(st.tuples(names, values), max_size=6)


@given(
    fields=fields, changed=st.dictionaries(names, values), added=st.dictionaries(names, values), gone=st.lists(names)
)
def test_it_agrees_with_lists_of_pairs(
    fields: list[tuple[str, str]], changed: dict[str, str], added: dict[str, str], gone: list[str]
) -> None:
    dropped = {name.lower() for name in [*changed, *gone]}
    expected = [(name, value) for name, value in fields if name.lower() not in dropped]
    expected += [*changed.items(), *added.items()]
    assert Edit(changed, added, gone).apply(write(fields)) == write(expected)


def write(pairs: list[tuple[str, str]]) -> bytes:
    return "".join(f"\r\n{name}: {value}" for name, value in pairs).encode()
