from __future__ import annotations

from tests.unit.edge.policies.kit import context, exchange

from portico.edge.edit import Edit
from portico.edge.policies.headers import build

NOTHING = {"set": {}, "add": {}, "remove": []}


def test_both_directions_are_edited() -> None:
    config = {
        "request": {"set": {"X-One": "1"}, "add": {}, "remove": ["Cookie"]},
        "response": {"set": {}, "add": {"X-Two": "2"}, "remove": ["Server"]},
    }
    asked = exchange()
    assert build(config, context()).check(asked) is None
    assert asked.request_edit is not None
    assert asked.response_edit is not None
    assert asked.request_edit.apply(b"\r\nCookie: a\r\nX-one: 0") == b"\r\nX-One: 1"
    assert asked.response_edit.apply(b"\r\nServer: x\r\nA: b") == b"\r\nA: b\r\nX-Two: 2"


def test_nothing_to_edit_is_no_edit() -> None:
    asked = exchange()
    build({"request": NOTHING, "response": NOTHING}, context()).check(asked)
    assert asked.request_edit is None
    assert asked.response_edit is None


def test_it_comes_behind_an_earlier_policy() -> None:
    asked = exchange()
    earlier = Edit({"A": "1"}, {}, [])
    asked.response_edit = earlier
    config = {"request": NOTHING, "response": {"set": {}, "add": {}, "remove": ["a"]}}
    step = build(config, context())
    step.check(asked)
    assert asked.response_edit is not None
    assert asked.response_edit is not earlier
    assert asked.response_edit.apply(b"\r\nB: 2") == b"\r\nB: 2"
    again = exchange()
    again.response_edit = earlier
    step.check(again)
    assert again.response_edit is asked.response_edit
