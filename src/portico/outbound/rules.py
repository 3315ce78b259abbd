"""From `outbound` in the configuration to guards."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable

from portico.contracts import Outbound
from portico.outbound.addresses import Guard, Network


def guard(outbound: Outbound, *, operator: bool = False) -> Guard:
    """Who may be called. `operator`: by addresses of the configuration itself, which may be private in mode public.

    In the modes allow_list and none they too must be in `allow`: then nothing leaves that is not listed there.
    """
    public = outbound.mode == "public"
    allow, hosts = _split(outbound.allow if outbound.mode != "none" else ())
    deny, denied_hosts = _split(outbound.deny)
    return Guard(
        allow_private=operator and public,
        allow=allow,
        deny=deny,
        hosts=hosts,
        denied_hosts=denied_hosts,
        listed=not public,
    )


def _split(entries: Iterable[str]) -> tuple[list[Network], list[str]]:
    networks: list[Network] = []
    hosts: list[str] = []
    for entry in entries:
        try:
            networks.append(ipaddress.ip_network(entry))
        except ValueError:
            hosts.append(entry)
    return networks, hosts
