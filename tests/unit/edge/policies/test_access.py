from __future__ import annotations

import ipaddress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.edge.policies.kit import context, exchange, refused

from portico.edge.policies.access import REMEMBERED, Access, build


def admits(allow: list[str], deny: list[str], client: bytes) -> bool:
    step = build({"allow": allow, "deny": deny}, context())
    answer = step.check(exchange(client=client))
    if answer is not None:
        refused(answer, 403, "address_denied")
    return answer is None


@pytest.mark.parametrize(
    ("allow", "deny", "client", "admitted"),
    [
        ([], [], b"192.0.2.1", True),
        (["192.0.2.0/24"], [], b"192.0.2.1", True),
        (["192.0.2.0/24"], [], b"192.0.3.1", False),
        ([], ["192.0.2.0/24"], b"192.0.2.1", False),
        ([], ["192.0.2.0/24"], b"192.0.3.1", True),
        (["192.0.2.0/24"], ["192.0.2.1"], b"192.0.2.1", False),
        (["192.0.2.1"], ["192.0.2.0/24"], b"192.0.2.1", False),
        (["192.0.2.0/24"], [], b"::ffff:192.0.2.1", True),
        ([], ["192.0.2.0/24"], b"::ffff:c000:201", False),
        (["::ffff:192.0.2.0/120"], [], b"192.0.2.1", True),
        (["0.0.0.0/0"], [], b"2001:db8::1", False),
        (["2001:db8::/32"], [], b"2001:db8::1", True),
        (["fe80::/10"], [], b"fe80::1%eth0", True),
        (["0.0.0.0/0", "::/0"], [], b"", False),
        (["0.0.0.0/0", "::/0"], [], b"unix", False),
        ([], ["0.0.0.0/0"], b"", True),
    ],
)
def test_who_comes_in(allow: list[str], deny: list[str], client: bytes, admitted: bool) -> None:
    assert admits(allow, deny, client) is admitted


def test_a_verdict_is_the_same_when_remembered() -> None:
    step = build({"allow": ["192.0.2.1"], "deny": []}, context())
    assert step.check(exchange(client=b"192.0.2.1")) is None
    assert step.check(exchange(client=b"192.0.2.2")) is not None
    assert step.check(exchange(client=b"192.0.2.1")) is None
    assert step.check(exchange(client=b"192.0.2.2")) is not None


def test_the_memory_is_bounded() -> None:
    policy = Access([], ["192.0.2.0/24"])
    for number in range(REMEMBERED * 2 + 10):
        policy.check(exchange(client=str(ipaddress.IPv4Address(number)).encode()))
    assert len(policy.verdicts) <= REMEMBERED


addresses = st.integers(0, 15).map(lambda n: str(ipaddress.IPv4Address(0x0A000000 + n)))
networks = st.lists(st.builds("{}/{}".format, addresses, st.integers(28, 32)), max_size=3)


@given(allow=networks, deny=networks, client=addresses)
def test_it_agrees_with_the_sentence(allow: list[str], deny: list[str], client: str) -> None:
    address = ipaddress.ip_address(client)

    def among(texts: list[str]) -> bool:
        return any(address in ipaddress.ip_network(text, strict=False) for text in texts)

    assert admits(allow, deny, client.encode()) == (not among(deny) and (not allow or among(allow)))
