"""ADMIT: which client addresses may come in. A deny wins; with an allow list, only what it names comes in."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Any, Final

from portico.contracts import ADMIT
from portico.edge.context import PolicyContext
from portico.edge.exchange import Exchange, Response, Step

REMEMBERED: Final = 4096  # addresses whose verdict a route remembers


class Access:
    """The policy of one route. An address that can't be read (a Unix socket's) is in no network."""

    def __init__(self, allow: list[str], deny: list[str], remembers: bool = True) -> None:
        self.remembers = remembers
        self.allow = [_network(text) for text in allow]
        self.deny = [_network(text) for text in deny]
        self.verdicts: dict[bytes, bool] = {}

    def check(self, exchange: Exchange) -> Response | None:
        client = exchange.client
        verdict = self.verdicts.get(client)
        if verdict is None:
            verdict = self._judge(client)
            if self.remembers:
                if len(self.verdicts) >= REMEMBERED:
                    self.verdicts.clear()
                self.verdicts[client] = verdict
        if verdict:
            return None
        detail = "this route does not take requests from the client's address"
        return exchange.problem(403, "address_denied", detail, "ask the operator to admit the address")

    def _judge(self, client: bytes) -> bool:
        address = _address(client)
        if _listed(address, self.deny):
            return False
        return not self.allow or _listed(address, self.allow)


def build(config: dict[str, Any], context: PolicyContext) -> Step:
    """`config`: {"allow": [network], "deny": [network]}, networks as CIDR text."""
    allow, deny = list(config["allow"]), list(config["deny"])
    return Step("access", ADMIT, Access(allow, deny).check, Access(allow, deny, remembers=False).check)


def _address(client: bytes) -> IPv4Address | IPv6Address | None:
    """The address; IPv4 written as IPv6 (RFC 4291 2.5.5.2) is IPv4."""
    try:
        address = ip_address(client.decode("latin-1").partition("%")[0])
    except ValueError:
        return None
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address


def _network(text: str) -> IPv4Network | IPv6Network:
    network = ip_network(text, strict=False)
    if isinstance(network, IPv6Network) and network.prefixlen >= 96:
        mapped = network.network_address.ipv4_mapped
        if mapped is not None:
            return IPv4Network((int(mapped), network.prefixlen - 96))
    return network


def _listed(address: IPv4Address | IPv6Address | None, networks: list[IPv4Network | IPv6Network]) -> bool:
    if address is None:
        return False
    for network in networks:  # noqa: SIM110 - a generator costs a class when compiled
        if address.version == network.version and address in network:
            return True
    return False
