"""Whom a client certificate stands for."""

from __future__ import annotations

import pytest
from tests.unit.edge.policies import kit
from tests.unit.edge.policies.kit import refused

from portico.contracts import CertificateRule, Identity, Role, Route, Server, Snapshot
from portico.edge.callers.certificates import matches
from portico.edge.context import PolicyContext
from portico.edge.exchange import Exchange, Step
from portico.edge.policies import auth
from portico.identity.certificates import Certificate

SHA = "ab" * 32
DEVICE = Certificate("CN=device 1,O=Acme", ("DNS:Device-1.local", "IP:192.0.2.7", "URI:urn:x:1"), SHA, 0.0)


@pytest.mark.parametrize(
    ("rule", "fits"),
    [
        ({"san": "device-1.local"}, True),
        ({"san": "DNS:DEVICE-1.local"}, True),
        ({"san": "192.0.2.7"}, True),
        ({"san": "IP:192.0.2.7"}, True),
        ({"san": "urn:x:1"}, True),
        ({"san": "URN:X:1"}, False),
        ({"san": "device-1"}, False),
        ({"san": "device-1.local.evil.example"}, False),
        ({"san": "IP:device-1.local"}, False),
        ({"subject": "CN=device 1,O=Acme"}, True),
        ({"subject": "CN=device 1"}, False),
        ({"fingerprint": SHA}, True),
        ({"fingerprint": "cd" * 32}, False),
        ({"san": "device-1.local", "fingerprint": SHA, "subject": "CN=device 1,O=Acme"}, True),
        ({"san": "device-1.local", "fingerprint": "cd" * 32}, False),
        ({}, False),
    ],
)
def test_a_rule_matches_what_has_all_that_it_asks_for(rule: dict[str, str], fits: bool) -> None:
    assert matches(CertificateRule("d", **rule), DEVICE) is fits


RULES = (
    CertificateRule("device-1", san="device-1.local", roles=("user",), tenant="acme"),
    CertificateRule("anyone-of-acme", subject="CN=device 1,O=Acme"),
)


def step(kinds: list[str]) -> Step:
    identity = Identity(roles=(Role("user", ("profile:*",)),), certificates=RULES)
    route = Route("r", ("/*",), "up")
    return auth.build({"kinds": kinds}, PolicyContext(Snapshot(1, "t", Server(()), identity=identity), route, {}))


def shown(certificate: Certificate | None, block: bytes = b"", wall: float = kit.WALL) -> Exchange:
    made = kit.exchange(block, wall=wall)
    made.peer_certificate = certificate
    return made


def test_the_first_rule_that_matches_makes_the_principal() -> None:
    policy = step(["certificate"])
    for look in (policy.check, policy.peek):
        assert look is not None
        asked = shown(DEVICE)
        assert look(asked) is None
        principal = asked.principal
        assert principal is not None
        assert (principal.id, principal.kind, principal.tenant) == ("device-1", "device", "acme")
        assert principal.roles == ("user",)
        assert principal.allows("profile:write")
    other = shown(Certificate("CN=device 1,O=Acme", (), "ef" * 32, 0.0))
    assert policy.check(other) is None
    assert other.principal is not None
    assert other.principal.id == "anyone-of-acme"
    assert not other.principal.permissions


def test_a_certificate_of_nobody_is_refused_and_so_is_one_that_has_expired() -> None:
    policy = step(["certificate"])
    refused(policy.check(shown(Certificate("CN=x", (), "ef" * 32, 0.0))), 401, "credentials_unknown")
    refused(policy.check(shown(None)), 401, "credentials_missing")
    ending = Certificate("CN=device 1,O=Acme", (), "01" * 32, kit.WALL)
    assert policy.check(shown(ending, wall=kit.WALL - 1)) is None
    refused(policy.check(shown(ending)), 401, "credentials_expired")


def test_a_key_that_is_shown_decides_and_a_certificate_alone_needs_its_kind() -> None:
    policy = step(["api_key", "certificate"])
    refused(policy.check(shown(DEVICE, b"\r\nX-API-Key: wrong")), 401, "credentials_unknown")
    assert policy.check(shown(DEVICE)) is None
    refused(step(["api_key", "jwt"]).check(shown(DEVICE)), 401, "credentials_missing")
