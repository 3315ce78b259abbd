"""The order of start-up."""

from __future__ import annotations

import random
from typing import Any, ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from portico.contracts import Mount
from portico.errors import PluginError
from portico.kernel.order import arrange, for_role, roles, start_order
from portico.kernel.plugin import AnyPlugin, BasePlugin, PluginInfo, PluginType, PolicySpec

I, S, M, B = PluginType  # noqa: E741


def info(name: str, kind: PluginType = M, requires: str = "", after: str = "", order: int = 100) -> PluginInfo:
    return PluginInfo(name, kind, tuple(requires.split()), tuple(after.split()), order)


def test_bands_come_first_then_order_then_id() -> None:
    infos = [
        info("b", B, order=1),
        info("z", I),
        info("m2", M, order=2),
        info("m1", M, order=2),
        info("m0", M, order=1),
    ]
    infos.append(info("s", S, order=999))
    assert start_order(infos) == ["z", "s", "m0", "m1", "m2", "b"]


def test_requirements_beat_order_within_a_band() -> None:
    assert start_order([info("a", requires="b", order=1), info("b", requires="c", order=2), info("c", order=3)]) == [
        *"cba"
    ]


def test_after_counts_only_when_it_is_there() -> None:
    assert start_order([info("a", after="b nobody"), info("b")]) == ["b", "a"]
    assert start_order([info("a", after="b")]) == ["a"]


CIRCLE = [info("x", requires="a"), info("a", requires="b"), info("b", after="c"), info("c", requires="a"), info("free")]
MISSING = "plugin 'a' requires 'limts', which is not among the plugins to start (did it mean 'limits'?)"
HIGHER = "plugin 'a' ({}) can't start after 'b' ({}), a higher band"


@pytest.mark.parametrize(
    ("infos", "message"),
    [
        ([info("a"), info("a", S)], "plugin 'a' is there twice"),
        ([info("a", requires="limts"), info("limits")], MISSING),
        ([info("a", S, requires="b"), info("b", M)], HIGHER.format("SECURITY", "MIDDLEWARE")),
        ([info("a", I, after="b"), info("b", B)], HIGHER.format("INFRASTRUCTURE", "BUSINESS")),
        ([info("a", requires="a")], "plugins wait for one another: a → a"),
        (CIRCLE, "plugins wait for one another: a → b → c → a"),
    ],
)
def test_what_can_t_be_ordered_is_named(infos: list[PluginInfo], message: str) -> None:
    with pytest.raises(PluginError) as caught:
        start_order(infos)
    assert str(caught.value) == message


@given(st.data())
def test_any_set_without_circles_is_ordered_rightly_and_always_alike(data: st.DataObject) -> None:
    kinds = sorted(data.draw(st.lists(st.sampled_from(list(PluginType)), max_size=12)))
    infos: list[PluginInfo] = []
    for index, kind in enumerate(kinds):  # each may wait only for earlier ones: no circle, no higher band
        names = [each.id for each in infos]
        some = st.lists(st.sampled_from(names), max_size=3, unique=True) if names else st.just([])
        order = data.draw(st.integers(0, 3))
        infos.append(PluginInfo(f"p{index}", kind, tuple(data.draw(some)), tuple(data.draw(some)), order))
    result = start_order(infos)
    shuffled = infos[:]
    random.Random(1).shuffle(shuffled)
    assert start_order(shuffled) == result
    assert sorted(result) == sorted(each.id for each in infos)
    place = {name: index for index, name in enumerate(result)}
    assert [each.type for each in sorted(infos, key=lambda each: place[each.id])] == kinds
    for each in infos:
        assert all(place[name] < place[each.id] for name in (*each.requires, *each.after))


class Plain(BasePlugin[dict[str, Any]]):
    info: ClassVar = info("plain", I)


class Chained(BasePlugin[dict[str, Any]]):
    info: ClassVar = info("chained", S, requires="plain")


class Policy(BasePlugin[dict[str, Any]]):
    info: ClassVar = info("policy", M, requires="chained")

    def policies(self) -> list[PolicySpec]:
        return []


class Router(BasePlugin[dict[str, Any]]):
    info: ClassVar = info("router", B, after="policy")
    mounts: tuple[Mount, ...] = ()

    def router(self) -> Any:
        raise AssertionError("not asked for here")


class Idle(BasePlugin[dict[str, Any]]):
    info: ClassVar = info("idle", B)


def test_roles_follow_from_capabilities_and_from_who_requires_it() -> None:
    plugins: list[AnyPlugin] = [kind({}) for kind in (Router, Policy, Idle, Chained, Plain)]
    assert roles(plugins) == {
        "plain": {"edge"}, "chained": {"edge"}, "policy": {"edge"}, "router": {"services"}, "idle": frozenset(),
    }  # fmt: skip
    assert [each.info.id for each in arrange(plugins)] == ["plain", "chained", "policy", "idle", "router"]
    assert [each.info.id for each in for_role(plugins, "edge")] == ["plain", "chained", "policy"]
    assert [each.info.id for each in for_role(plugins, "services")] == ["router"]
