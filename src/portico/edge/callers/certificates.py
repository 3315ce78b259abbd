"""Whom a verified client certificate stands for."""

from __future__ import annotations

from typing import Final

from portico.contracts import CertificateRule
from portico.identity.certificates import Certificate
from portico.identity.principal import Principal
from portico.identity.roles import Roles

REMEMBERED: Final = 1024  # certificates whose principal is not looked for again


class Certificates:
    """The rules of one snapshot; the first that matches a certificate decides."""

    def __init__(self, rules: tuple[CertificateRule, ...], roles: Roles) -> None:
        self.rules = rules
        self.roles = roles
        self.seen: dict[str, Principal | None] = {}

    def find(self, certificate: Certificate) -> Principal | None:
        """The principal that the certificate stands for, or None."""
        fingerprint = certificate.fingerprint
        if fingerprint in self.seen:
            return self.seen[fingerprint]
        if len(self.seen) >= REMEMBERED:
            self.seen.clear()
        found = self.seen[fingerprint] = self._look(certificate)
        return found

    def _look(self, certificate: Certificate) -> Principal | None:
        for rule in self.rules:
            if matches(rule, certificate):
                granted = self.roles.permissions(rule.roles)
                return Principal(rule.principal, "device", rule.tenant, granted, rule.roles)
        return None


def matches(rule: CertificateRule, certificate: Certificate) -> bool:
    """Whether the certificate has all that the rule asks for; a rule that asks for nothing matches nothing."""
    asked = [
        (rule.san, rule.san and any(names(rule.san, each) for each in certificate.names)),
        (rule.subject, rule.subject == certificate.subject),
        (rule.fingerprint, rule.fingerprint == certificate.fingerprint),
    ]
    given = [met for wanted, met in asked if wanted]
    return bool(given) and all(given)


def names(wanted: str, name: str) -> bool:
    """Whether an alternative name ("DNS:a.example") is the one wanted, with its kind or without; hosts in any case."""
    kind, _, value = name.partition(":")
    if kind == "DNS":
        return value.lower() == wanted.removeprefix("DNS:").lower()
    return wanted in (name, value)
