"""Which addresses may be called. The table is our own: `ipaddress.is_global` changes with Python's version.

An address that users supply must be public. An operator's own may be private too, but never one of those that are
nobody's service (multicast, documentation, transition) or a cloud's metadata.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterable
from typing import Final

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

# Where an operator's own services may well be.
PRIVATE: Final = tuple(
    ipaddress.ip_network(text)
    for text in (
        "127.0.0.0/8",  # loopback (RFC 1122)
        "10.0.0.0/8",  # private (RFC 1918)
        "172.16.0.0/12",
        "192.168.0.0/16",
        "100.64.0.0/10",  # shared, carrier-grade NAT (RFC 6598)
        "169.254.0.0/16",  # link-local (RFC 3927)
        "::1/128",  # loopback (RFC 4291)
        "fc00::/7",  # unique local (RFC 4193)
        "fe80::/10",  # link-local (RFC 4291)
    )
)
# Nobody's service, a way around this table, or a machine's secrets.
NEVER: Final = tuple(
    ipaddress.ip_network(text)
    for text in (
        "0.0.0.0/8",  # this network; 0.0.0.0 reaches loopback (RFC 1122)
        "192.0.0.0/24",  # protocol assignments; Oracle's metadata is 192.0.0.192 (RFC 6890)
        "192.0.2.0/24",  # documentation (RFC 5737)
        "192.31.196.0/24",  # AS112 (RFC 7535)
        "192.52.193.0/24",  # AMT (RFC 7450)
        "192.88.99.0/24",  # 6to4 relays (RFC 7526)
        "192.175.48.0/24",  # AS112 (RFC 7534)
        "198.18.0.0/15",  # benchmarks (RFC 2544)
        "198.51.100.0/24",  # documentation
        "203.0.113.0/24",  # documentation
        "224.0.0.0/4",  # multicast (RFC 5771)
        "240.0.0.0/4",  # reserved, and the broadcast address (RFC 1112)
        "169.254.169.254/32",  # metadata of most clouds
        "169.254.170.0/24",  # credentials of containers
        "100.100.100.200/32",  # metadata (Alibaba)
        "168.63.129.16/32",  # the host of a virtual machine (Azure)
        "fd00:ec2::/32",  # metadata (Amazon)
        "fd20:ce::254/128",  # metadata (Google)
    )
)
# Of IPv6 only this is handed out as public (RFC 4291 2.4); what is outside, such as ::/96, fe80::/10 or 64:ff9b::/96
# (NAT64), is not, and these parts of it are not either.
PUBLIC_6: Final = ipaddress.IPv6Network("2000::/3")
NOT_PUBLIC_6: Final = tuple(
    ipaddress.IPv6Network(text)
    for text in (
        "2001::/23",  # protocol assignments, Teredo among them (RFC 2928, RFC 4380)
        "2001:db8::/32",  # documentation (RFC 3849)
        "2002::/16",  # 6to4 (RFC 3056)
        "2620:4f:8000::/48",  # AS112
        "3ffe::/16",  # 6bone, returned (RFC 3701)
        "3fff::/20",  # documentation (RFC 9637)
    )
)


def parse(text: str) -> Address:
    """The address that a socket names, without its zone; ::ffff:a.b.c.d is a.b.c.d. ValueError when it is none."""
    address = ipaddress.ip_address(text.partition("%")[0])
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return mapped or address


def literal(host: str) -> str:
    """The address that a host is in itself, in any spelling that some resolver takes (0x7f.1, 2130706433); else ""."""
    try:
        return str(parse(host))
    except ValueError:
        pass
    try:
        return socket.inet_ntoa(socket.inet_aton(host.rstrip(".")))
    except (OSError, ValueError):
        return ""


def within(address: Address, networks: Iterable[Network]) -> bool:
    """Whether the address is in one of the networks."""
    return any(address.version == network.version and address in network for network in networks)


def named(host: str, patterns: Iterable[str]) -> bool:
    """Whether one of the patterns is this host, or *. and a domain that it is below."""
    name = host.rstrip(".").lower()
    return any(name.endswith(each[1:]) if each.startswith("*.") else name == each for each in patterns)


class Guard:
    """Says of a host and of an address whether it may be called: first `deny`, then `allow`, then the table.

    A host in `hosts` may have private addresses too, but none of those that are never called; a network in `allow` may
    be any. With `listed`, only what `allow` and `hosts` name may be called, and other names are not even looked up.
    """

    def __init__(
        self,
        *,
        allow_private: bool = False,
        allow: Iterable[Network] = (),
        deny: Iterable[Network] = (),
        hosts: Iterable[str] = (),
        denied_hosts: Iterable[str] = (),
        listed: bool = False,
    ) -> None:
        self.allow_private = allow_private
        self.allow = tuple(allow)
        self.deny = tuple(deny)
        self.hosts = tuple(hosts)
        self.denied_hosts = tuple(denied_hosts)
        self.listed = listed

    def knows(self, host: str) -> bool:
        """Whether the host of a URL may be called at all; what it leads to is another question."""
        if named(host, self.denied_hosts):
            return False
        if not self.listed:
            return True
        try:
            return within(parse(host), self.allow)
        except ValueError:
            return named(host, self.hosts)

    def permits(self, text: str, host: str = "") -> bool:
        """Whether a connection to this address, as a socket names it, may be made for a URL with `host`.

        What is no address may not.
        """
        try:
            address = parse(text)
        except ValueError:
            return False
        if within(address, self.deny) or not self.knows(host or text):
            return False
        if within(address, self.allow):
            return True
        if within(address, NEVER):
            return False
        by_name = named(host, self.hosts)
        if within(address, PRIVATE):
            return self.allow_private or by_name
        if self.listed and not by_name:
            return False
        if address.version == 6:
            return address in PUBLIC_6 and not within(address, NOT_PUBLIC_6)
        return True
